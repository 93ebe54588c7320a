"""The same chats as each format writes them, shaped as the frameworks' own files are."""

from __future__ import annotations

import json

QUESTION, ANSWER = "where is mug 1 ?", "mug 1 is in sink 1 ."
THOUGHT, SAID, SEEN = "look at desk 1", "go to desk 1", "desk 1 : mug 1"
ARGUMENTS = {"place": "desk 1", "times": 2}
FUNCTION = {
    "name": "look",
    "description": "look at a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
TOOLS = [{"type": "function", "function": FUNCTION}]


def call(**fields):
    return {**fields, "type": "function", "function": {"name": "look", "arguments": ARGUMENTS}}


def text_call(**fields):
    """A call as OpenAI's API gives it: its arguments are a text."""
    return {**fields, "type": "function", "function": {"name": "look", "arguments": json.dumps(ARGUMENTS)}}


SYSTEM, USER = {"role": "system", "content": "act"}, {"role": "user", "content": QUESTION}
LAST = {"role": "assistant", "content": ANSWER}
# what every format comes to: a question and its answer, and a run with a thought, a call and its result
PLAIN = [USER, LAST]
RUN = [
    SYSTEM,
    USER,
    {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT, "tool_calls": [call()]},
    {"role": "tool", "content": SEEN},
    LAST,
]
# some formats have no place for a text beside a call, or for a thought
SILENT_RUN = [{**turn, "content": ""} if "tool_calls" in turn else turn for turn in RUN]
THOUGHTLESS_RUN = [{key: value for key, value in turn.items() if key != "reasoning_content"} for turn in RUN]

OPENAI = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "act"}]},
        {**USER, "name": None},
        {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT, "refusal": None, "audio": None,
         "function_call": None, "tool_calls": [text_call(id="call_1")]},
        {"role": "tool", "tool_call_id": "call_1", "content": SEEN},
        {**LAST, "tool_calls": None, "weight": None},
    ],
    "tools": TOOLS,
}  # fmt: skip
LEGACY = {
    "messages": [
        SYSTEM,
        USER,
        {"role": "assistant", "content": None, "reasoning_content": THOUGHT,
         "function_call": {"name": "look", "arguments": json.dumps(ARGUMENTS)}},
        {"role": "function", "name": "look", "content": SEEN},
        LAST,
    ],
    "tools": TOOLS,
}  # fmt: skip
ANTHROPIC = {
    "messages": [
        SYSTEM,
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": THOUGHT, "signature": "x"}, {"type": "text", "text": SAID},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": ARGUMENTS}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": SEEN}]}]},
        LAST,
    ],
    "tools": TOOLS,
}  # fmt: skip
SHAREGPT = {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}], "tools": ""}
LLAMAFACTORY = {
    "conversations": [
        {"from": "human", "value": QUESTION},
        {"from": "function_call",
         "value": f"<think>\n{THOUGHT}\n</think>\n\n" + json.dumps({"name": "look", "arguments": ARGUMENTS})},
        {"from": "observation", "value": SEEN},
        {"from": "gpt", "value": ANSWER},
    ],
    "system": "act",
    "tools": json.dumps([FUNCTION]),
}  # fmt: skip
ROLE_CONTENT = {"conversation": [{"role": "user", "content": QUESTION}, {"role": "model", "content": ANSWER}]}
ALPACA = {"instruction": QUESTION, "input": "", "output": ANSWER, "history": [], "system": None}
COMPLETION_TEXTS = {"prompt": QUESTION, "completion": ANSWER}
COMPLETION = {"prompt": [USER], "completion": [LAST]}
ATIF = {
    "schema_version": "ATIF-v1.6",
    "session_id": "session-1",
    "agent": {"name": "terminus", "version": "2.0.0", "tool_definitions": TOOLS},
    "steps": [
        {"step_id": 1, "source": "system", "message": "act"},
        {"step_id": 2, "source": "user", "message": [{"type": "text", "text": QUESTION}], "timestamp": None},
        {"step_id": 3, "source": "agent", "message": SAID, "reasoning_content": THOUGHT, "model_name": "m",
         "tool_calls": [{"tool_call_id": "c1", "function_name": "look", "arguments": ARGUMENTS}],
         "observation": {"results": [{"source_call_id": "c1", "content": SEEN}]},
         "metrics": {"prompt_tokens": 10, "cost_usd": 0.1}},
        {"step_id": 4, "source": "agent", "message": ANSWER, "reasoning_content": None},
    ],
    "final_metrics": {"total_steps": 4},
}  # fmt: skip
OPENHANDS_MESSAGES = {
    "trajectory_id": "chatcmpl-1",
    "instance_id": "a__b-1",
    "trajectory": [
        {**SYSTEM, "name": None, "tool_call_id": None, "tool_calls": None},
        {**USER, "name": None, "tool_call_id": None, "tool_calls": None},
        {"role": "assistant", "content": SAID, "name": None, "tool_call_id": None, "tool_calls": [text_call(id="c1")]},
        {"role": "tool", "content": SEEN, "name": "look", "tool_call_id": "c1", "tool_calls": None},
        LAST,
    ],
    "tools": TOOLS,
    "resolved": 1,
}


def response(identifier, **message):
    return {"id": identifier, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", **message}}]}


MADE = {"function_name": "look", "tool_call_id": "c1", "total_calls_in_response": 1}
OPENHANDS_0 = {
    "instance_id": "a__b-1",
    "history": [
        {"id": 0, "source": "agent", "action": "system", "args": {"content": "act", "tools": TOOLS}},
        {"id": 1, "source": "user", "action": "message", "args": {"content": QUESTION, "image_urls": None}},
        {"id": 2, "source": "user", "action": "recall", "args": {"query": QUESTION}},
        {"id": 3, "source": "environment", "observation": "agent_state_changed", "content": ""},
        {"id": 4, "source": "agent", "action": "run", "args": {"command": "look", "thought": SAID},
         "tool_call_metadata": {**MADE, "model_response": response(
             "r1", content=SAID, reasoning_content=THOUGHT, tool_calls=[text_call(id="c1")],
             provider_specific_fields={"refusal": None})}},
        {"id": 5, "source": "agent", "cause": 4, "observation": "run", "content": SEEN, "tool_call_metadata": MADE},
        {"id": 6, "source": "agent", "action": "message", "args": {"content": ANSWER}},
    ],
}  # fmt: skip
OPENHANDS_1 = {
    "events": [
        {"kind": "SystemPromptEvent", "source": "agent", "system_prompt": {"type": "text", "text": "act"},
         "tools": TOOLS},
        {"kind": "MessageEvent", "source": "user",
         "llm_message": {"role": "user", "content": [{"type": "text", "text": QUESTION}]}},
        {"kind": "ConversationStateUpdateEvent", "source": "environment", "key": "stats"},
        {"kind": "ActionEvent", "source": "agent", "thought": [{"type": "text", "text": SAID}],
         "reasoning_content": THOUGHT, "action": {"kind": "LookAction"}, "tool_name": "look", "tool_call_id": "c1",
         "tool_call": {"id": "c1", "name": "look", "arguments": json.dumps(ARGUMENTS), "origin": "completion"},
         "llm_response_id": "r1"},
        {"kind": "ObservationEvent", "source": "environment", "tool_name": "look", "tool_call_id": "c1",
         "observation": {"content": [{"type": "text", "text": SEEN}]}, "action_id": "a"},
        {"kind": "MessageEvent", "source": "agent",
         "llm_message": {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}},
    ]
}  # fmt: skip
HISTORY = [
    {**SYSTEM, "agent": "main", "message_type": "system_prompt"},
    {"role": "user", "content": [{"type": "text", "text": QUESTION}], "agent": "main", "message_type": "observation"},
    {"role": "assistant", "content": SAID, "thought": SAID, "action": "look", "agent": "main",
     "tool_calls": [text_call(id="c1")], "message_type": "action",
     "thinking_blocks": [{"type": "thinking", "thinking": THOUGHT}]},
    {"role": "tool", "content": SEEN, "agent": "main", "message_type": "observation", "tool_call_ids": ["c1"]},
    {**LAST, "thought": ANSWER, "action": "submit", "agent": "main", "tool_calls": None, "message_type": "action"},
]  # fmt: skip
STEPS = [
    {
        "query": [USER],
        "response": ANSWER,
        "thought": ANSWER,
        "action": "submit",
        "observation": "",
        "state": {"open_file": "n/a"},
    },
]
SWE_AGENT = {"trajectory": STEPS, "history": HISTORY, "tools": TOOLS, "info": {"exit_status": "submitted"}}
SWE_AGENT_STEPS = {"trajectory": STEPS, "environment": "swe_main"}
SWE_AGENT_TEXTS = {
    "instance_id": "a__b-1",
    "trajectory": [
        {"role": "user", "text": QUESTION, "system_prompt": None, "cutoff_date": None},
        {"role": "ai", "text": ANSWER, "system_prompt": None, "cutoff_date": "01.01.2023"},
    ],
}
MINI_SWE_AGENT = {
    "trajectory_format": "mini-swe-agent-1.1",
    "info": {"mini_version": "2.0.0"},
    "messages": [
        {**USER, "extra": {"timestamp": 1}},
        {**LAST, "extra": {"response": {"id": "r"}}},
        {"role": "exit", "content": "submitted", "extra": {"exit_status": "Submitted"}},
    ],
}

# row of the table in docs/route-your-own-data.md: what is in that format, and the messages that it holds
EXAMPLES = {
    "OpenAI `messages`": [(OPENAI, RUN), (LEGACY, SILENT_RUN), (ANTHROPIC, RUN)],
    "ShareGPT `conversations`": [(SHAREGPT, PLAIN), (LLAMAFACTORY, SILENT_RUN), (ROLE_CONTENT, PLAIN)],
    "alpaca": [(ALPACA, PLAIN)],
    "TRL `prompt`, `completion`": [(COMPLETION, PLAIN), (COMPLETION_TEXTS, PLAIN)],
    "ATIF 1.0 to 1.7": [(ATIF, RUN)],
    "OpenHands": [(OPENHANDS_MESSAGES, THOUGHTLESS_RUN), (OPENHANDS_0, RUN), (OPENHANDS_1, RUN)],
    "SWE-agent": [(SWE_AGENT, RUN), (SWE_AGENT_STEPS, PLAIN), (SWE_AGENT_TEXTS, PLAIN), (MINI_SWE_AGENT, PLAIN)],
}

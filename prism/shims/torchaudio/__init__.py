"""Stand-in for torchaudio where none loads beside CPU torch: LLaMA-Factory imports it, only audio data calls it."""

__version__ = "0.0.0+text.only"


def __getattr__(name: str) -> object:
    raise AttributeError(f"torchaudio.{name}: audio data needs a real torchaudio that matches torch")

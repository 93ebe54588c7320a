"""Samplers behind one small interface: Hugging Face on CPU, vLLM on GPU."""

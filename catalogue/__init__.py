"""Queueing products through a running ComfyUI. Talks to the server only; imports nothing of the node pack."""

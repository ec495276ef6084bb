"""The model package: torch, numpy and pillow only; it knows neither ComfyUI nor diffusers."""

"""The model package. Needs torch, numpy, pillow, scipy and safetensors; knows neither ComfyUI nor diffusers."""

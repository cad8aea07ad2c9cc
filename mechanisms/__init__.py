"""The built-in mechanisms, a folder and a paper each, entered through the same door as anyone's plugin."""

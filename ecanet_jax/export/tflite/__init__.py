"""TFLite: files for phones and microcontrollers, run by LiteRT."""

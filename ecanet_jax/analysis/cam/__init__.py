"""Class activation maps: where on a picture a network sees a class."""

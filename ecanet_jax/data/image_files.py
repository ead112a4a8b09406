"""The files that are pictures, by their names."""

EXTENSIONS = ('.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp')
FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP')  # Pillow's names of what they hold

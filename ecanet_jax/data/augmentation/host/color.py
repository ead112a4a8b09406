"""Changes of colour with exactly the pixels of Pillow.

Images are uint8 [H, W, 3], RGB; amounts are float64 scalars. Sources: Pillow's ImageOps.py,
ImageEnhance.py, Blend.c (a truncated float32 sum), Convert.c (grey levels and HSV) and Filter.c.
Lighting noise is not in Pillow. TensorFlow is slow with look-up tables, with tf.where of uint8 and
with broadcasting along the channel axis. So levels are computed where Pillow uses a table (but in
`equalize`), and channels are handled as whole rows.
"""

from ecanet_jax.data.tfdata.tf_import import tensorflow

tf = tensorflow()

# Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", section 4.1;
# the values of facebook/fb.resnet.torch datasets/imagenet.lua, of images in 0..1.
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = (
  (-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)
)


def brightness(image, factor):
  """Blends with black: 0 is black, 1 the image."""
  return _levels(tf.cast(image, tf.float32) * tf.cast(factor, tf.float32))


def contrast(image, factor):
  """Blends with the mean grey level of the image."""
  grey = tf.reduce_sum(tf.cast(_grey(image), tf.int64))
  pixels = tf.size(image, tf.int64) // 3
  mean = tf.floor(tf.cast(grey, tf.float64) / tf.cast(pixels, tf.float64) + 0.5)
  return _levels(_blend(tf.cast(mean, tf.float32), tf.cast(image, tf.float32), factor))


def saturation(image, factor):
  """Blends every pixel with its own grey level; timm and torchvision call it color."""
  grey = tf.cast(_grey(image), tf.float32)[..., None]
  return _levels(_blend(grey, tf.cast(image, tf.float32), factor))


def sharpness(image, factor):
  """Blends with the image after a 3x3 filter of weights 1, 5 in the centre; the border is kept."""
  whole = tf.cast(image, tf.float32)
  middle = whole[1:-1, 1:-1]
  rows = whole[:-2] + whole[1:-1] + whole[2:]
  total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * middle
  # n / 13 is never near a half, so every way of rounding gives the same.
  smooth = tf.floor(total / 13 + 0.5)
  inside = _levels(_blend(smooth, middle, factor))
  inside = tf.concat([image[1:-1, :1], inside, image[1:-1, -1:]], 1)
  return tf.concat([image[:1], inside, image[-1:]], 0)


def posterize(image, bits):
  """Keeps the highest `bits` of 8, at least one.

  0 bits are an error in Pillow 13. TensorFlow's EfficientNet asks for 0 and gets 1, because
  TensorFlow shifts uint8 by at most 7.
  """
  shift = tf.cast(tf.clip_by_value(8 - tf.cast(bits, tf.int32), 0, 7), tf.uint8)
  return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def solarize(image, threshold):
  """Inverts the levels that are not below the threshold."""
  # The highest level below the threshold; -1 if there is none.
  last = tf.math.ceil(tf.convert_to_tensor(threshold, tf.float64)) - 1
  above = tf.cast((image > _levels(last)) | (last < 0), tf.uint8)
  return tf.bitwise.bitwise_xor(image, 255 * above)  # 255 - level


def solarize_add(image, addition):
  """Adds to the levels below 128."""
  add = _levels(tf.convert_to_tensor(addition, tf.float64))
  add *= tf.cast(image < 128, tf.uint8)
  return tf.minimum(image, 255 - add) + add


def invert(image):
  return 255 - image


def autocontrast(image):
  """Stretches each channel to 0..255; a channel with a single level stays as it is."""
  rows = _rows(image)
  low, high = (
    tf.cast(reduce(tf.reshape(reduce(rows, 0), [-1, 3]), 0), tf.float64)
    for reduce in (tf.reduce_min, tf.reduce_max)
  )
  scale = tf.where(high > low, 255 / tf.maximum(high - low, 1), 1)
  offset = tf.where(high > low, -low * scale, 0)
  stretched = tf.cast(rows, tf.float64) * _along(scale, image) + _along(offset, image)
  return tf.reshape(_levels(stretched), tf.shape(image))


def equalize(image):
  """Equalizes the histogram of each channel; a channel with a single level stays as it is."""
  level = tf.range(256)
  place = tf.cast(_rows(image), tf.int32) + _along(tf.constant([0, 256, 512]), image)
  counts = tf.math.bincount(tf.reshape(place, [-1]), minlength=768, maxlength=768)
  counts = tf.reshape(counts, [3, 256])
  highest = tf.reduce_max(tf.where(counts > 0, level[None], 0), 1)
  step = (tf.reduce_sum(counts, 1) - tf.gather(counts, highest, batch_dims=1)) // 255
  before = tf.cumsum(counts, 1, exclusive=True)
  table = (step[:, None] // 2 + before) // tf.maximum(step, 1)[:, None]
  table = tf.where(step[:, None] > 0, table, level[None])
  equal = tf.gather_nd(_levels(tf.reshape(table, [768])), place[..., None])
  return tf.reshape(equal, tf.shape(image))


def hue(image, turn):
  """Turns the hue by -0.5 to 0.5 of the circle, in Pillow's 8-bit HSV."""
  red, green, blue = tf.unstack(tf.cast(image, tf.float32), axis=-1)
  high = tf.maximum(red, tf.maximum(green, blue))
  span = high - tf.minimum(red, tf.minimum(green, blue))
  divisor = tf.maximum(span, 1)
  double = lambda value: tf.cast(value, tf.float64)
  r, g, b = ((high - channel) / divisor for channel in (red, green, blue))
  sixths = tf.where(
    red == high, b - g, tf.where(green == high, _float(2 + double(r) - double(b)),
                                 _float(4 + double(g) - double(r)))
  )
  around = _float(tf.math.floormod(double(sixths) / 6 + 1, 1.0))
  hue8 = tf.where(span > 0, tf.floor(double(around) * 255), 0)
  saturation8 = tf.floor(double(span / tf.maximum(high, 1)) * 255)
  # uint8 addition wraps around.
  added = tf.cast(tf.convert_to_tensor(turn, tf.float64) * 255, tf.int32)
  hue8 = double(tf.math.floormod(tf.cast(hue8, tf.int32) + added, 256))

  value, place = double(high), hue8 * 6 / 255
  sector = tf.floor(place)
  part, share = double(_float(place - sector)), double(_float(saturation8 / 255))
  # Halves are rounded up, as in C.
  mixed = lambda amount: tf.floor(value * (1 - amount) + 0.5)
  p, q, t = mixed(share), mixed(share * part), mixed(share * (1 - part))
  sector = tf.cast(sector, tf.int32) % 6
  rgb = []
  for order in ('vqpptv', 'tvvqpp', 'pptvvq'):
    names = {'v': value, 'p': p, 'q': q, 't': t}
    channel = names[order[5]]
    for number in range(5):
      channel = tf.where(sector == number, names[order[number]], channel)
    rgb.append(channel)
  turned = _levels(tf.stack(rgb, -1))
  return tf.where((saturation8 == 0)[..., None], tf.cast(value, tf.uint8)[..., None], turned)


def lighting(image, normal):
  """Adds the colours in which ImageNet varies: eigenvector i times normal[i] times eigenvalue i.

  Args:
    image: uint8 [H, W, 3].
    normal: float32 [3], drawn with the standard deviation of the noise (0.1 in both sources).

  Returns:
    uint8 [H, W, 3]: rounded, and clipped to 0..255.
  """
  scaled = normal * tf.constant(EIGENVALUES)
  shift = 255 * tf.reduce_sum(tf.constant(EIGENVECTORS) * scaled[None], 1)
  lit = tf.round(tf.cast(_rows(image), tf.float32) + _along(shift, image))
  return tf.reshape(_levels(lit), tf.shape(image))


def _blend(degenerate, image, factor):
  """Between two float32 images, or beyond the second for a factor above 1."""
  return degenerate + tf.cast(factor, tf.float32) * (image - degenerate)


def _grey(image):
  """Luma of ITU-R 601-2 with 16 bits after the point, int32 [H, W]."""
  red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
  return tf.bitwise.right_shift(19595 * red + 38470 * green + 7471 * blue + 32768, 16)


def _rows(image):
  """[H, W, 3] as [H, 3 W]."""
  return tf.reshape(image, [tf.shape(image)[0], -1])


def _along(channels, image):
  """Repeats three numbers, one per channel, for every pixel of a row: [1, 3 W]."""
  return tf.tile(channels, [tf.shape(image)[1]])[None]


def _levels(value):
  """Converts numbers to uint8 as C does: clipped and truncated."""
  return tf.cast(tf.clip_by_value(value, 0, 255), tf.uint8)


def _float(value):
  return tf.cast(value, tf.float32)


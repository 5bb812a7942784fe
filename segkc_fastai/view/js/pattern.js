// The parts of two networks differ in pattern as well as in hue: stripes up, stripes down, dots

const LINES = [
  (x, y) => (x + y) % 6 < 2,
  (x, y) => (x + 5 * y) % 6 < 2,
  (x, y) => x % 4 < 2 && y % 4 < 2,
]

// Bit k of a pixel of the screen: whether it belongs to the pattern of part k
export function patterns(W, H, ratio) {
  const bits = new Uint8Array(W * H)
  for (let q = 0; q < bits.length; q++) {
    const [x, y] = [q % W, q / W].map(o => Math.floor(o / ratio))
    for (let k = 0; k < 3; k++) bits[q] |= LINES[k](x, y) << k + 1
  }
  return bits
}

// The same beside a text, as a background in CSS: the colour of a part and that of its pattern
export function patch(part, colour, line) {
  const stripes = angle => `repeating-linear-gradient(${angle}deg, ${line} 0 1.4px, ${colour} 1.4px 4.2px)`
  const spots = `radial-gradient(${line} 1px, ${colour} 1.4px) 0 0 / 4px 4px`
  return [colour, stripes(135), stripes(45), spots][part] || colour
}

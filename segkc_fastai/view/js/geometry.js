// Positions of panels and pixels. Zoom is [times, centre x, centre y], the centre as shares of width and height

export const clamp = (x, lo = 0, hi = 1) => Math.max(lo, Math.min(hi, x))

// Screen pixels per image pixel, and the corner of the visible part of the image
export function geometry({w, h}, W, H, [times, cx, cy]) {
  const s = W / w * times
  const corner = (c, n, N) => Math.max(0, Math.min(n - N / s, c * n - N / s / 2))
  return {s, ox: corner(cx, w, W), oy: corner(cy, h, H)}
}

// The pixel of the image under each pixel of the screen
export function pixelsUnder(idx, {w, h}, W, H, {s, ox, oy}) {
  const xs = Int32Array.from({length: W}, (_, x) => Math.min(w - 1, Math.floor(ox + (x + .5) / s)))
  for (let y = 0; y < H; y++) {
    const row = w * Math.min(h - 1, Math.floor(oy + (y + .5) / s))
    for (let x = 0; x < W; x++) idx[y * W + x] = row + xs[x]
  }
}

// The point of the image at a point of a panel, in shares of its size; the first pixel is from 0 to 1
export const pointAt = (W, H, {s, ox, oy}, fx, fy) => [ox + fx * W / s, oy + fy * H / s]

// The pixel of the image there
export function pixelAt({w, h}, W, H, geo, fx, fy) {
  const [x, y] = pointAt(W, H, geo, fx, fy)
  return {x: Math.min(w - 1, Math.floor(x)), y: Math.min(h - 1, Math.floor(y))}
}

// The nearest centre of a view that lies in the image, in shares
const inView = (c, times) => clamp(c, .5 / times, 1 - .5 / times)

// The zoom after enlarging `times`; the pixel under the pointer stays in place
export function zoomed([before, cx, cy], times, {w, h}, W, H, {s, ox, oy}, at) {
  const now = clamp(times, 1, Math.max(8, w / 8))
  if (now === 1) return [1, .5, .5]
  const [px, py] = at || [cx * w, cy * h]
  const centre = (p, o, N) => p + (o + N / s / 2 - p) * before / now
  return [now, inView(centre(px, ox, W) / w, now), inView(centre(py, oy, H) / h, now)]
}

// The zoom after a drag by shares of a panel
export function dragged([times, cx, cy], dx, dy) {
  return [times, inView(cx - dx / times, times), inView(cy - dy / times, times)]
}

const GAP = 8 // between panels
const CAPTION = 26 // above a panel, with the gap
const TALL = 8000 // no panel is higher: a canvas has a largest size
const SMALL = 200 // panels are not made narrower for the sake of two rows

// Width and columns of n panels in r rows. More than two rows are scrolled, and are no reason for large panels
function inRows(r, {w, h}, n, {room, height}) {
  const columns = Math.ceil(n / r)
  const across = room / columns - GAP
  const down = r > 2 ? SMALL : w / h * (height / r - CAPTION)
  return {columns, width: Math.floor(Math.min(across, down))}
}

// The largest panels of which two rows fit the window; as the room grows, they never become smaller
function largest(image, n, free) {
  const ways = [...Array(n).keys()].map(i => inRows(i + 1, image, n, free))
  return ways.reduce((best, o) => o.width > best.width ? o : best)
}

// As many columns as fit panels of a given width
function given(width, n, {room}) {
  const columns = Math.max(1, Math.min(n, Math.floor(room / (width + GAP))))
  return {columns, width: Math.min(Math.round(width), Math.floor(room - GAP))}
}

// The size of n panels of an image, in CSS pixels and in screen pixels: of the height that is wanted, or else largest
export function panelSize({w, h}, n, want, free, ratio) {
  const found = want ? given(want * w / h, n, free) : largest({w, h}, n, free)
  const width = clamp(Math.floor(TALL * w / h), 1, Math.max(40, found.width))
  const exact = want && width === Math.round(want * w / h)
  const height = exact ? want : clamp(Math.round(width * h / w), 1, TALL)
  const many = width * height * ratio * ratio * n > 2e6
  const sharp = many ? Math.min(ratio, 1) : ratio // beyond two million pixels, sharpness is not worth the wait
  return {width, height, columns: found.columns, W: Math.round(width * sharp), H: Math.round(height * sharp)}
}

// The computations of a map of points, without a page: where points are, which one is near, which a line encloses

const MAP_MARGIN = 14

// Width and height of what the points cover
export function extentOf(xy) {
  const of = k => xy.filter((_, i) => i % 2 === k)
  const most = values => values.reduce((a, b) => Math.max(a, b), -Infinity)
  const span = values => most(values) + most(values.map(v => -v))
  return [span(of(0)), span(of(1))]
}

// Pixels of one unit, the same in both directions, so that all points fit into the picture
export const unitPixels = (W, H, [dx, dy], times) =>
  times * Math.min((W - 2 * MAP_MARGIN) / (dx || 1e-9), (H - 2 * MAP_MARGIN) / (dy || 1e-9), Math.max(W, H))

// Positions in pixels of points; `view` holds the factor and the place in the middle, y grows upwards
export function placePoints(xy, W, H, [times, cx, cy], extent = [1, 1]) {
  const n = xy.length / 2
  const unit = unitPixels(W, H, extent, times)
  const res = {xs: new Float32Array(n), ys: new Float32Array(n)}
  for (let i = 0; i < n; i++) {
    res.xs[i] = W / 2 + (xy[2 * i] - cx) * unit
    res.ys[i] = H / 2 - (xy[2 * i + 1] - cy) * unit
  }
  return res
}

// Pixels of a disc around 0, as x and y in turn
export function discOffsets(radius) {
  const res = []
  const r = Math.ceil(radius)
  for (let y = -r; y <= r; y++) for (let x = -r; x <= r; x++) if (x * x + y * y <= radius * radius) res.push(x, y)
  return Int16Array.from(res)
}

// Paint a disc of one colour per point into the pixels of a picture, the points of `order` one over the other
export function splat(pixels, W, H, {xs, ys}, order, colours, offsets) {
  for (const i of order) {
    const x0 = Math.round(xs[i])
    const y0 = Math.round(ys[i])
    const colour = colours[i]
    for (let k = 0; k < offsets.length; k += 2) {
      const x = x0 + offsets[k]
      const y = y0 + offsets[k + 1]
      if (x >= 0 && y >= 0 && x < W && y < H) pixels[y * W + x] = colour
    }
  }
}

// The point nearest to a place, -1 if none is within `reach` pixels
export function nearestPoint({xs, ys}, x, y, reach) {
  let best = -1
  let least = reach * reach
  for (let i = 0; i < xs.length; i++) {
    const d = (xs[i] - x) ** 2 + (ys[i] - y) ** 2
    if (d <= least) [best, least] = [i, d]
  }
  return best
}

// The nearest point in the direction of an arrow, at most 45° off; the same point where the arrow leads nowhere
export function pointToward({xs, ys}, from, dx, dy) {
  let best = from
  let least = Infinity
  for (let i = 0; i < xs.length; i++) {
    const [x, y] = [xs[i] - xs[from], ys[i] - ys[from]]
    const ahead = x * dx + y * dy
    const aside = Math.abs(x * dy - y * dx)
    if (ahead > 0 && aside <= ahead && ahead + aside < least) [best, least] = [i, ahead + aside]
  }
  return best
}

// Points inside a closed line, given as x and y in turn
export function enclosed({xs, ys}, line) {
  const n = line.length / 2
  if (n < 3) return []
  const lx = line.filter((_, k) => k % 2 === 0)
  const ly = line.filter((_, k) => k % 2)
  const [x0, x1, y0, y1] = [Math.min(...lx), Math.max(...lx), Math.min(...ly), Math.max(...ly)]
  const res = []
  for (let i = 0; i < xs.length; i++) {
    const [x, y] = [xs[i], ys[i]]
    if (x >= x0 && x <= x1 && y >= y0 && y <= y1 && isInside(lx, ly, x, y)) res.push(i)
  }
  return res
}

function isInside(lx, ly, x, y) {
  let odd = false
  for (let i = 0, j = lx.length - 1; i < lx.length; j = i++) {
    const crosses = ly[i] > y !== ly[j] > y
    if (crosses && x < (lx[j] - lx[i]) * (y - ly[i]) / (ly[j] - ly[i]) + lx[i]) odd = !odd
  }
  return odd
}

// Bytes of a colour as one number of a picture's pixels
export const pixelColour = ([r, g, b], a = 255) => (a << 24 | b << 16 | g << 8 | r) >>> 0

// A colour mixed with that of the page
export const mixed = (rgb, page, share) => rgb.map((v, k) => Math.round(v * share + page[k] * (1 - share)))

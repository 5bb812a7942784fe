// Sets of pixels as runs in reading order: [first pixel, number of pixels, …]

function pushRow(runs, {w}, y, from, to) {
  const [a, b] = [Math.max(0, from), Math.min(w - 1, to)]
  if (a <= b) runs.push(y * w + a, b - a + 1)
}

// From where to where a row meets the pixels within `r` of the line from a to b
function capsuleRow([ax, ay], [bx, by], r, y) {
  const xs = []
  for (const [x, cy] of [[ax, ay], [bx, by]]) {
    const half = Math.sqrt(r * r - (y - cy) ** 2)
    if (half >= 0) xs.push(x - half, x + half)
  }
  const d = Math.hypot(bx - ax, by - ay)
  for (const side of d ? [r / d, -r / d] : []) {
    const t = (y - ay - side * (bx - ax)) / (by - ay)
    if (t >= 0 && t <= 1) xs.push(ax - side * (by - ay) + t * (bx - ax))
  }
  return [Math.min(...xs), Math.max(...xs)]
}

// A brush of radius `r` drawn from pixel a to pixel b, [x, y] each
export function strokeRuns(size, a, b, r) {
  const runs = []
  const top = Math.max(0, Math.ceil(Math.min(a[1], b[1]) - r))
  const bottom = Math.min(size.h - 1, Math.floor(Math.max(a[1], b[1]) + r))
  for (let y = top; y <= bottom; y++) {
    const [from, to] = capsuleRow(a, b, r, y)
    pushRow(runs, size, y, Math.ceil(from - 1e-6), Math.floor(to + 1e-6))
  }
  return runs
}

function crossings(points, y) {
  const xs = []
  points.forEach(([x1, y1], i) => {
    const [x0, y0] = points.at(i - 1)
    if ((y0 <= y) !== (y1 <= y)) xs.push(x0 + (y - y0) * (x1 - x0) / (y1 - y0))
  })
  return xs.sort((a, b) => a - b)
}

// The pixels whose centres are in a polygon of points [x, y]; the centre of the first pixel is [.5, .5]
export function polygonRuns(size, points) {
  const runs = []
  const ys = points.map(p => p[1])
  const bottom = Math.min(size.h - 1, Math.floor(Math.max(...ys)))
  for (let y = Math.max(0, Math.floor(Math.min(...ys))); y <= bottom; y++) {
    const xs = crossings(points, y + .5)
    for (let i = 0; i + 1 < xs.length; i += 2) {
      pushRow(runs, size, y, Math.ceil(xs[i] - .5), Math.ceil(xs[i + 1] - .5) - 1)
    }
  }
  return runs
}

// The connected pixels around [x, y] for which `same` is true, with four neighbours each
export function regionRuns({w, h}, same, [x, y]) {
  const runs = []
  const seen = new Uint8Array(w * h)
  const todo = [y * w + x]
  while (todo.length) {
    const at = todo.pop()
    if (seen[at] || !same(at)) continue
    const [from, to] = rowAround(same, at, w)
    seen.fill(1, from, to + 1)
    runs.push(from, to - from + 1)
    if (from >= w) startRows(todo, same, from - w, to - w)
    if (to < w * (h - 1)) startRows(todo, same, from + w, to + w)
  }
  return runs
}

function rowAround(same, at, w) {
  let [from, to] = [at, at]
  while (from % w && same(from - 1)) from--
  while ((to + 1) % w && same(to + 1)) to++
  return [from, to]
}

// One pixel of each run of a row
function startRows(todo, same, from, to) {
  for (let i = from; i <= to; i++) if (same(i) && (i === from || !same(i - 1))) todo.push(i)
}

// All of `n` pixels for which `test` is true
export function whereRuns(n, test) {
  const runs = []
  for (let i = 0, start = -1; i <= n; i++) {
    const on = i < n && test(i)
    if (on && start < 0) start = i
    if (on || start < 0) continue
    runs.push(start, i - start)
    start = -1
  }
  return runs
}

// The outline of a region over the panels of labels, in lines of the screen
import {svgEl} from './dom.js'
import {boxOf} from './edits.js'
import {whereRuns} from './runs.js'

// The borders of the pixels of triples as the path of an SVG: first between rows, then between columns
export function borderPath(triples, {w, h}) {
  const inside = new Uint8Array(w * h)
  for (let k = 0; k < triples.length; k += 3) inside.fill(1, triples[k + 1], triples[k + 1] + triples[k + 2])
  const [x0, y0, x1, y1] = boxOf(triples, w)
  const at = (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1 && inside[y * w + x] === 1
  const lines = []
  const border = (n, test, line) => {
    const runs = whereRuns(n, test)
    for (let k = 0; k < runs.length; k += 2) lines.push(line(runs[k], runs[k] + runs[k + 1]))
  }
  for (let y = y0; y <= y1 + 1; y++) {
    border(x1 - x0 + 1, i => at(x0 + i, y) !== at(x0 + i, y - 1), (a, b) => `M${x0 + a} ${y}H${x0 + b}`)
  }
  for (let x = x0; x <= x1 + 1; x++) {
    border(y1 - y0 + 1, i => at(x, y0 + i) !== at(x - 1, y0 + i), (a, b) => `M${x} ${y0 + a}V${y0 + b}`)
  }
  return lines.join('')
}

const NONE = []

// The region of the mask that editor `t` has, as triples; empty if the kernel outlined one of another mask
export function regionOf(t) {
  const {of, runs = NONE} = t.v.model.get('region')
  return of === t.mask?.of ? runs : NONE
}

function lines(p) {
  const root = svgEl(p.canvas.parentNode, 'svg', 'region')
  root.setAttribute('preserveAspectRatio', 'none')
  for (let k = 0; k < 2; k++) svgEl(root, 'path')
  return root
}

export function placeRegion(t) {
  const {v} = t
  const runs = regionOf(t)
  if (runs !== t.region) Object.assign(t, {region: runs, path: runs.length ? borderPath(runs, v.item) : ''})
  const {s, ox, oy} = v.geo
  for (const p of v.panels) {
    if (p.kind !== 'label') continue
    p.region ??= lines(p)
    p.region.toggleAttribute('hidden', !t.outlined || !runs.length)
    p.region.setAttribute('viewBox', [ox, oy, v.W / s, v.H / s].join(' '))
    for (const o of p.region.children) if (o.getAttribute('d') !== t.path) o.setAttribute('d', t.path)
  }
}

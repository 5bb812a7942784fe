// Draws the part of a mask that an edit changed, and the marks of the tools over it
import {blend} from './blend.js'
import {svgEl} from './dom.js'
import {redraw} from './draw.js'
import {clamp} from './geometry.js'
import {tables} from './look.js'

// Columns and rows of the screen that show a box of the image, the last ones excluded
function onScreen({W, H, geo: {s, ox, oy}}, [x0, y0, x1, y1]) {
  const low = (x, o, N) => clamp(Math.floor((x - o) * s) - 1, 0, N)
  const high = (x, o, N) => clamp(Math.ceil((x + 1 - o) * s) + 1, 0, N)
  return [low(x0, ox, W), low(y0, oy, H), high(x1, ox, W), high(y1, oy, H)]
}

export function drawBox(v, p, box) {
  if (p.hidden) return
  if (v.blink || v.mode || p.off || v.model.get('cell')) return redraw(v)
  const [left, top, right, bottom] = onScreen(v, box)
  if (right <= left || bottom <= top) return
  const mixed = tables(v).label
  for (let y = top; y < bottom; y++) {
    const [from, to] = [y * v.W + left, y * v.W + right]
    for (let k = from; k < to; k++) v.val[k] = p.label[v.idx[k]]
    const part = a => a.subarray(from, to)
    blend(part(p.out), part(v.base), part(v.val), mixed)
  }
  p.g.putImageData(p.data, 0, 0, left, top, right - left, bottom - top)
}

// The brush under the pointer, and the outline that is being drawn
export function marks(p) {
  const root = svgEl(p.canvas.parentNode, 'svg', 'marks')
  for (const name of ['circle', 'polyline']) root[name] = svgEl(root, name)
  return root
}

// `points` in pixels of the image, `brush` as [x, y, radius] or null
export function placeMarks(v, p, root, points, brush) {
  const {s, ox, oy} = v.geo
  const scale = s * p.canvas.clientWidth / v.W
  const at = ([x, y]) => [(x - ox) * scale, (y - oy) * scale]
  root.polyline.setAttribute('points', points.map(o => at(o).join()).join(' '))
  root.circle.setAttribute('r', brush ? Math.max(1, brush[2] * scale) : 0)
  if (!brush) return
  const [x, y] = at(brush)
  root.circle.setAttribute('cx', x)
  root.circle.setAttribute('cy', y)
}

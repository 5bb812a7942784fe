// The tools of the editor, as changes of the mask; `t` is the editor of a view, see editor.js
import {clamp} from './geometry.js'
import {polygonRuns, regionRuns, strokeRuns, whereRuns} from './runs.js'

export const TOOLS = {
  brush: {key: 'b', text: 'brush', about: 'paint the class; [ and ] change the size'},
  eraser: {key: 'e', text: 'eraser', about: 'remove the class'},
  polygon: {key: 'p', text: 'polygon', about: 'click corners; double click or Enter fills them, Escape discards them'},
  lasso: {key: 'l', text: 'lasso', about: 'draw around an area to fill it'},
  fill: {key: 'f', text: 'fill', about: 'give a connected area of one class the chosen class'},
  pick: {key: 'i', text: 'pick', about: 'choose the class under the pointer, in any panel'},
}

export const TOOL_HELP = [
  ...Object.values(TOOLS).map(({key, text, about}) => [key, `${text}: ${about}`]),
  ['1–9', 'class'],
  ['x', 'ignored'],
  ['a', 'accept agreed'],
  [', .', 'confidence that a requires'],
  ['click', 'on a proposal: accept that area'],
  ['z y', 'undo, redo'],
  ['s', 'save the mask'],
  ['h', 'outline of the region in question'],
  ['← →', 'previous, next image'],
  ['+ − 0', 'zoom; also the wheel'],
  ['Shift drag', 'move the image, when zoomed'],
  ['m', 'enlarge the panel under the pointer; back'],
  ['space', 'image without masks, and back'],
  ['d', 'comparison in all label panels'],
  ['c', 'only the next class; after the last, all'],
  ['o', 'safe colours'],
  ['r', 'reset'],
  ['Esc', 'discard the outline, then the zoom; leave'],
  ['?', 'this table'],
]

export const bigger = (size, by) => clamp(size + by * Math.max(2, 2 * Math.round(size / 10)), 1, 401)

const pixelOf = ([x, y]) => [Math.floor(x), Math.floor(y)]

const insideImage = ({w, h}, [x, y]) => x >= 0 && y >= 0 && x < w && y < h

export const brushes = t => t.tool === 'brush' || t.tool === 'eraser'

export const paints = t => t.tool === 'eraser' ? t.ignore : t.chosen

// From the last point of the pointer to this one
export function strokeTo(t, point) {
  const [from, to] = [pixelOf(t.points.at(-1) || point), pixelOf(point)]
  t.points = [point]
  t.paint(strokeRuns(t.v.item, from, to, t.size / 2), paints(t))
}

export function fillOutline(t) {
  const points = t.points
  t.points = []
  if (points.length > 2) t.paint(polygonRuns(t.v.item, points), t.chosen)
  t.commit()
}

export function fillArea(t, point) {
  if (!insideImage(t.v.item, pixelOf(point))) return
  const {w} = t.v.item
  const [x, y] = pixelOf(point)
  const was = t.mask.label[y * w + x]
  if (was !== t.chosen) t.paint(regionRuns(t.v.item, i => t.mask.label[i] === was, [x, y]), t.chosen)
  t.commit()
}

// The label of another panel around a point; of a panel of disagreement, that of both
export function acceptRegion(t, p, point) {
  if (!insideImage(t.v.item, pixelOf(point))) return
  const [x, y] = pixelOf(point)
  const at = y * t.v.item.w + x
  const {a, b} = p.kind === 'disagreement' ? t.v.parts.get(p.of.join('\n')) : {a: p, b: p}
  const to = a.label[at]
  if (to === b.label[at]) t.paint(regionRuns(t.v.item, i => a.label[i] === to && b.label[i] === to, [x, y]), to)
  t.commit()
}

// Pixels without a class that all proposals label alike, with enough confidence
export function acceptAgreed(t, proposals, least) {
  const [first, ...others] = proposals
  const sure = (p, i) => !p.confidence || p.confidence[i] >= least
  const agreed = i => t.mask.label[i] === t.ignore && sure(first, i) &&
    others.every(p => p.label[i] === first.label[i] && sure(p, i))
  const open = whereRuns(t.mask.label.length, agreed)
  for (const [to, runs] of byClass(first.label, open)) t.paint(runs, to)
  t.commit()
}

// Class → the runs of its pixels among those of `runs`
function byClass(label, runs) {
  const found = new Map()
  for (let k = 0; k < runs.length; k += 2) {
    const end = runs[k] + runs[k + 1]
    for (let i = runs[k], start = i; i < end; start = i) {
      while (i < end && label[i] === label[start]) i++
      if (!found.has(label[start])) found.set(label[start], [])
      found.get(label[start]).push(start, i - start)
    }
  }
  return found
}

export function classUnder(t, p, point) {
  if (!insideImage(t.v.item, pixelOf(point)) || !p.label) return null
  const [x, y] = pixelOf(point)
  return p.label[y * t.v.item.w + x]
}

// One panel of curves as SVG: lines, the band of a network's interval, the last value beside its line, names below
import {
  MARGINS, PANEL_HEIGHT, bandOutline, epochRange, epochTicks, linePath, lonely, panelScales, roundTicks, runningValues,
  spreadLabels, tickTexts, valueRange, withUnit,
} from './curve_scales.js'
import {el} from './dom.js'

function svgNode(tag, attributes, text = '') {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v)
  e.textContent = text
  return e
}

// Below 0 the colour of the text; then six colours of the style, repeated with dashes
const strokeOf = i => i < 0 ? 'currentColor' : `var(--c${i % 6})`
const dashesOf = i => i === -2 || i > 5 ? '4 3' : 'none'

export function plotPanel(panel, chart, running, width) {
  const svg = svgNode('svg', {viewBox: `0 0 ${width} ${PANEL_HEIGHT}`, role: 'img'})
  svg.style.height = `${PANEL_HEIGHT}px`
  const range = valueRange(panel, running)
  if (!range) {
    const middle = {x: width / 2, y: PANEL_HEIGHT / 2, 'text-anchor': 'middle', 'fill-opacity': .7}
    svg.append(svgNode('text', middle, 'no values yet'))
    return svg
  }
  const epochs = epochRange(chart, running)
  const scales = panelScales(range, epochs, width)
  svg.append(...valueAxis(range, scales, width), ...epochAxis(epochs, scales, width))
  const ends = panel.series.flatMap(s => drawSeries(svg, s, chart.x, running, scales))
  const texts = labelEnds(svg, ends)
  svg.setAttribute('aria-label', `${panel.title}, ${panel.unit}: ${texts.join(', ')}`)
  return svg
}

function valueAxis([lo, hi], scales, width) {
  const ticks = roundTicks(lo, hi, 5)
  const texts = tickTexts(ticks)
  return ticks.flatMap((t, i) => {
    const y = scales.y(t)
    const line = svgNode('line', {class: 'grid', x1: MARGINS.left, x2: width - MARGINS.right, y1: y, y2: y})
    return [line, svgNode('text', {class: 'value-tick', x: MARGINS.left - 4, y: y + 3, 'text-anchor': 'end'}, texts[i])]
  })
}

function epochAxis(epochs, scales, width) {
  const place = t => ({class: 'epoch-tick', x: scales.x(t), y: PANEL_HEIGHT - 4, 'text-anchor': 'middle'})
  return epochTicks(epochs, width - MARGINS.left - MARGINS.right).map(t => svgNode('text', place(t), t))
}

// Returns the label of the last value in a list, empty if there are no values
function drawSeries(svg, s, xs, running, scales) {
  const now = runningValues(s, running)
  const add = (tag, cls, attributes) => svg.append(svgNode(tag, {class: cls, 'data-name': s.key, ...attributes}))
  drawLines(add, s, xs, running.x, now, scales)
  const done = points(xs, s.y)
  const last = points(running.x, now).pop() ?? done.at(-1)
  drawDots(add, s, done, last, scales)
  if (!last) return []
  return [{x: scales.x(last[0]) + 6, y: scales.y(last[1]), text: withUnit(last[1], s.scale), stroke: strokeOf(s.color)}]
}

function drawLines(add, s, xs, runningXs, now, scales) {
  const stroke = strokeOf(s.color)
  const look = {stroke, 'stroke-dasharray': dashesOf(s.color)}
  if (s.low) add('polygon', 'band', {fill: stroke, points: bandOutline(xs, s.low, s.high, scales)})
  add('path', 'line', {...look, d: linePath(xs, s.y, scales)})
  if (now.length) add('path', 'running', {...look, d: linePath(runningXs, now, scales)})
}

// Points for every epoch while there are few, for values without neighbours, for the last, and a ring around the best
function drawDots(add, s, done, last, scales) {
  const stroke = strokeOf(s.color)
  const dot = (cls, r, [x, v], ink) => add('circle', cls, {r, cx: scales.x(x), cy: scales.y(v), ...ink})
  const alone = new Set(lonely(s.y))
  done.filter(o => done.length <= 30 || alone.has(o[2])).forEach(o => dot('point', 1.8, o, {fill: stroke}))
  if (last) dot('last', 2.6, last, {fill: stroke})
  const best = done.find(o => o[2] === s.best)
  if (best) dot('best', 3.4, best, {stroke})
}

// Epoch, value and position of each known value
const points = (xs, ys) => ys.map((v, i) => [xs?.[i], v, i]).filter(o => o[1] != null)

function labelEnds(svg, ends) {
  const room = PANEL_HEIGHT - MARGINS.top - MARGINS.bottom
  const gap = Math.min(11, room / Math.max(ends.length, 1))
  const labels = spreadLabels(ends, gap, PANEL_HEIGHT - MARGINS.bottom)
  for (const {x, to, text, stroke} of labels) {
    svg.append(svgNode('line', {x1: x - 2, y1: to, x2: x + 2, y2: to, stroke, 'stroke-width': 2.5}))
    const size = `font-size:${Math.min(10, gap - 1).toFixed(1)}px`
    svg.append(svgNode('text', {x: x + 5, y: to + 3.5, class: 'value', style: size}, text))
  }
  return labels.map(o => o.text)
}

export function seriesNames(panel) {
  const names = el(null, 'div', 'names')
  for (const s of panel.series) {
    const name = el(names, 'span')
    const swatch = el(name, 'i', 'swatch')
    swatch.style.borderTopColor = strokeOf(s.color)
    if (dashesOf(s.color) !== 'none') swatch.style.borderTopStyle = 'dashed'
    name.append(s.name)
  }
  return names
}

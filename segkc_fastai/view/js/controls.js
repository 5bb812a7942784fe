// The head of a view: sliders, buttons, legend, and the line of numbers; beside the panels the matrix
import {button, el, put} from './dom.js'
import {redraw} from './draw.js'
import {HELP, press} from './keys.js'
import {cellAt, cellText, matrixWidth, pairing} from './matrix.js'
import {matrixKeys} from './matrix_keys.js'
import {alone, change, idle, tell} from './traits.js'

export function build(v) {
  const ui = v.ui = {head: el(v.el, 'div', 'head')}
  buildTools(v, el(ui.head, 'div', 'tools'))
  ui.legend = el(ui.head, 'div', 'legend')
  ui.classes = v.names.map((name, k) => classButton(v, name, k))
  const told = el(ui.head, 'div', 'told')
  ui.name = el(told, 'span', 'name')
  ui.line = el(told, 'span', 'line')
  ui.help = el(v.el, 'div', 'help')
  ui.help.hidden = true
  keyTable(ui.help, HELP)
  buildBody(v, el(v.el, 'div', 'body'))
  idle(v)
}

function buildBody(v, body) {
  Object.assign(v.ui, {body, panels: el(body, 'div', 'panels'), side: el(body, 'div', 'side')})
  for (const name of ['quality', 'matrix']) {
    v.ui[name] = el(v.ui.side, 'div', name)
    el(v.ui[name], 'canvas')
  }
  buildMatrix(v, v.ui.matrix)
}

export function keyTable(box, rows) {
  box.replaceChildren()
  for (const [keys, text] of rows) {
    const row = el(box, 'div')
    el(row, 'kbd', '', keys)
    row.append(text)
  }
}

// `on`: whether a toggle is pressed; `lacks`: why it cannot be
const TOGGLES = [
  {key: ' ', text: 'image', about: 'the image without masks (space)', on: v => v.blink},
  {
    key: 'g', text: 'truth', about: 'ground truth in all label panels (g)', on: v => v.mode === 'g',
    lacks: v => v.item?.truth ? '' : 'no ground truth for this image',
  },
  {
    key: 'd', text: 'compare', about: 'who is right, or where they differ, in all label panels (d)',
    on: v => v.mode === 'd', lacks: v => v.pair ? '' : 'needs two panels of labels',
  },
  {key: 'o', text: 'safe', about: 'colours that everyone can tell apart (o)', on: v => v.model.get('safe')},
]

function buildTools(v, bar) {
  const group = () => el(bar, 'span', 'group')
  const values = group()
  v.ui.opacity = slider(v, values, 'opacity', 'opacity')
  v.ui.threshold = slider(v, values, 'threshold', 'confidence ≥')
  const presses = (box, key, text, about) => button(box, text, about, () => v.item && press(v, key))
  const toggles = v.ui.toggles = group()
  v.toggles = TOGGLES.map(o => ({...o, button: presses(toggles, o.key, o.text, o.about)}))
  const last = group()
  v.ui.zoom = el(last, 'output', 'zoom')
  v.ui.zoom.title = 'zoom (+ − 0, or the wheel)'
  presses(last, 'r', 'reset', 'reset zoom, classes, cell, colours, opacity and confidence (r)')
  v.toggles.push({on: () => !v.ui.help.hidden, button: presses(last, '?', '? keys', 'the table of keys (?)')})
}

function slider(v, parent, name, text) {
  const input = el(el(parent, 'label', '', text), 'input')
  Object.assign(input, {type: 'range', min: 0, max: 1, step: .01, className: name, value: v.model.get(name)})
  input.say = el(input.parentNode, 'output')
  input.addEventListener('input', () => change(v, name, +input.value))
  return input
}

function classButton(v, name, k) {
  const b = el(v.ui.legend, 'button', 'class')
  el(b, 'i')
  b.append(name)
  b.title = 'click: show or hide; double click: show only this class'
  const toggle = () => change(v, 'classes', v.model.get('classes').map((on, i) => i === k ? !on : on))
  b.onclick = ev => v.tool && !ev.shiftKey ? v.tool.choose(k) : toggle()
  b.ondblclick = () => {
    if (v.tool) return
    const shown = v.model.get('classes')
    alone(v, shown[k] && shown.filter(on => on).length === 1 ? undefined : k)
  }
  return b
}

function buildMatrix(v, box) {
  const canvas = box.firstChild
  box.style.minWidth = `${matrixWidth(v.K)}px`
  const under = ev => {
    const r = canvas.getBoundingClientRect()
    return v.cross && cellAt(v.cross, ev.clientX - r.left, ev.clientY - r.top)
  }
  canvas.onclick = ev => chooseCell(v, under(ev))
  canvas.onpointermove = ev => tell(v, () => under(ev) ? cellText(v, under(ev)) : '')
  canvas.onpointerleave = () => idle(v)
  const show = cell => {
    if (cell) tell(v, () => v.pointed ? cellText(v, v.pointed) : '')
    else idle(v)
    redraw(v)
  }
  matrixKeys(v, canvas, show, cell => chooseCell(v, cell))
  const b = button(box, 'order: most disputed', 'most disputed classes first, or by class number', () => {
    v.byNumber = !v.byNumber
    put(b, v.byNumber ? 'order: class number' : 'order: most disputed')
    pairing(v)
    redraw(v)
  }, 'order')
}

// A second click on the same cell clears it
function chooseCell(v, classes) {
  if (!classes) return
  const now = [v.cross.a.title, v.cross.b.title, ...classes]
  const before = v.model.get('cell')
  change(v, 'cell', before?.every((o, i) => o === now[i]) ? null : now)
}

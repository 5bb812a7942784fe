// Sliders, buttons and legends
import {el, put} from './dom.js'
import {redraw} from './draw.js'
import {HELP, press} from './keys.js'
import {cellAt, cellText, pairing} from './matrix.js'
import {percent} from './text.js'
import {alone, change, say} from './traits.js'

export function build(v) {
  const ui = v.ui = {name: el(v.el, 'div', 'name')}
  const row = el(v.el, 'div', 'row')
  ui.main = el(row, 'div', 'main')
  ui.panels = el(ui.main, 'div', 'panels')
  for (const name of ['quality', 'matrix']) {
    ui[name] = el(row, 'div', `side ${name}`)
    el(ui[name], 'canvas')
  }
  ui.line = el(ui.main, 'div', 'line', 'click a panel, then press ? for the keys')
  ui.help = el(ui.main, 'div', 'help', HELP)
  ui.help.hidden = true
  buildTools(v, el(ui.main, 'div', 'tools'))
  ui.legend = el(ui.main, 'div', 'legend')
  ui.classes = v.names.map((name, k) => classButton(v, name, k))
  buildMatrix(v, ui.matrix)
}

function buildTools(v, bar) {
  v.ui.opacity = slider(v, bar, 'opacity', 'opacity')
  v.ui.threshold = slider(v, bar, 'threshold', 'confidence ≥')
  const safe = el(bar, 'button', 'safe', '◐ safe colours')
  safe.title = 'colours that everyone can tell apart'
  safe.onclick = () => change(v, 'safe', !v.model.get('safe'))
  el(bar, 'button', 'keys', '? keys').onclick = () => press(v, '?')
}

function slider(v, parent, name, text) {
  const input = el(el(parent, 'label', '', text), 'input')
  Object.assign(input, {type: 'range', min: 0, max: 1, step: .01, className: name, value: v.model.get(name)})
  input.say = el(input.parentNode, 'output')
  input.addEventListener('input', () => change(v, name, +input.value))
  return input
}

function classButton(v, name, k) {
  const button = el(v.ui.legend, 'button', 'class')
  el(button, 'i')
  button.append(name)
  button.title = 'click: on or off; double click: alone'
  const toggle = () => change(v, 'classes', v.model.get('classes').map((on, i) => i === k ? !on : on))
  button.onclick = ev => v.tool && !ev.shiftKey ? v.tool.choose(k) : toggle()
  button.ondblclick = () => {
    if (v.tool) return
    const shown = v.model.get('classes')
    alone(v, shown[k] && shown.filter(on => on).length === 1 ? undefined : k)
  }
  return button
}

function buildMatrix(v, box) {
  const canvas = box.firstChild
  const under = ev => {
    const r = canvas.getBoundingClientRect()
    return cellAt(v.cross, ev.clientX - r.left, ev.clientY - r.top)
  }
  canvas.onclick = ev => chooseCell(v, under(ev))
  canvas.onpointermove = ev => describeCell(v, under(ev))
  const button = el(box, 'button', 'order', 'order: most disputed')
  button.title = 'most disputed classes first, or by class number'
  button.onclick = () => {
    v.byNumber = !v.byNumber
    put(button, v.byNumber ? 'order: class number' : 'order: most disputed')
    pairing(v)
    redraw(v)
  }
}

// A second click on the same cell clears it
function chooseCell(v, classes) {
  if (!classes) return
  const now = [v.cross.a.title, v.cross.b.title, ...classes]
  const before = v.model.get('cell')
  change(v, 'cell', before?.every((o, i) => o === now[i]) ? null : now)
}

function describeCell(v, classes) {
  if (!classes) return
  const {n, of, what} = cellText(v, classes)
  say(v, `${what}: ${n} pixels, ${percent(n, of, 2)} of ${of} that both keep`)
}

// The buttons of the editor, and its line of state
import {keyTable} from './controls.js'
import {button, el, put} from './dom.js'
import {css} from './pixels.js'
import {regionOf} from './region.js'
import {TOOL_HELP, TOOLS} from './tools.js'

export function buildBar(t) {
  t.v.el.setAttribute('aria-label', 'mask editor')
  const bar = el(null, 'div', 'tools editing')
  t.v.ui.head.prepend(bar)
  bar.setAttribute('role', 'toolbar')
  bar.setAttribute('aria-label', 'tools for the mask')
  t.ui = {bar, tools: {}}
  for (const [name, {key, text, about}] of Object.entries(TOOLS)) {
    t.ui.tools[name] = button(bar, text, `${about} (${key})`, () => t.use(name))
  }
  t.ui.size = brushSize(t, bar)
  const accept = 'give open pixels the class that all proposals agree on with enough confidence (a)'
  button(bar, '✓ accept agreed', accept, () => t.key('a'))
  button(bar, '↶', 'undo (z)', () => t.key('z'))
  button(bar, '↷', 'redo (y)', () => t.key('y'))
  button(bar, 'save', 'write the mask (s)', () => t.key('s'))
  t.ui.region = button(bar, 'outline', 'outline the region in question (h)', () => t.key('h'))
  button(bar, '◀', 'previous image (←)', () => t.leave('ArrowLeft'))
  button(bar, '▶', 'next image (→)', () => t.leave('ArrowRight'))
  t.ui.state = el(t.v.ui.head, 'div', 'state')
  t.ui.clock = el(t.ui.state, 'span')
  t.ui.said = el(t.ui.state, 'span')
  t.ui.said.setAttribute('role', 'status') // without the clock, which would be read out every second
  ignoreButton(t)
  t.v.ui.classes.forEach((b, k) => nameButton(t, b, k))
  keyTable(t.v.ui.help, TOOL_HELP)
}

function nameButton(t, b, k) {
  b.title = `paint ${t.v.names[k]}; shift and click: show or hide`
  if (k < 9) b.firstChild.after(el(null, 'kbd', '', k + 1))
}

function brushSize(t, bar) {
  const input = el(el(bar, 'label', '', 'size'), 'input', 'size')
  Object.assign(input, {type: 'range', min: 1, max: 101, step: 2, value: t.size})
  input.say = el(input.parentNode, 'output', '', t.size)
  input.oninput = () => t.resize(+input.value)
  return input
}

// Ignored pixels are the class after the last
function ignoreButton(t) {
  const b = el(t.v.ui.legend, 'button', 'class ignore')
  el(b, 'i')
  b.append('ignored')
  Object.assign(b, {title: 'paint ignored pixels (x)', onclick: () => t.choose(t.ignore)})
  t.ui.ignore = b
}

function markChosen(b, chosen) {
  b.classList.toggle('chosen', chosen)
  b.setAttribute('aria-pressed', chosen)
}

export function showBar(t) {
  for (const [name, b] of Object.entries(t.ui.tools)) b.setAttribute('aria-pressed', name === t.tool)
  t.ui.region.hidden = !regionOf(t).length
  t.ui.region.setAttribute('aria-pressed', t.outlined)
  t.ui.size.value = t.size
  put(t.ui.size.say, `${t.size} px`)
  t.v.ui.classes.forEach((b, k) => markChosen(b, k === t.chosen))
  markChosen(t.ui.ignore, t.chosen === t.ignore)
  t.v.el.style.setProperty('--chosen', t.chosen === t.ignore ? '#fff' : css(t.v.palette[t.chosen]))
}

export function sayState(t) {
  const {text = '', bad = false} = t.v.model.get('status')
  const {done, undone} = t.mask.history
  const minutes = `${Math.floor(t.mask.seconds / 60)}:${String(t.mask.seconds % 60).padStart(2, '0')}`
  put(t.ui.clock, `${minutes} in focus · edits: ${done.length}, undone: ${undone.length} · `)
  put(t.ui.said, text)
  t.ui.state.classList.toggle('bad', bad)
}

// One view of a MaskViewer, or of a widget that extends it. All its state is in `v`
import {arrive} from './arrive.js'
import {legends} from './beside.js'
import {build} from './controls.js'
import {commanding, hideStill, keepsKey, keyOf, ownKeys, save, widgetRoot} from './dom.js'
import {draw, redraw} from './draw.js'
import {press} from './keys.js'
import {palette, unpacked} from './look.js'
import {pairing} from './matrix.js'
import {scrolled, size} from './panels.js'
import {pointer} from './pointer.js'
import {guarded} from './traits.js'

function state(model, root) {
  const names = model.get('_names')
  const given = {model, el: root, names, K: names.length, look: unpacked(model.get('_tables'))}
  return {...given, panels: [], arriving: 0, since: 0, blink: '', mode: '', off: [], scratch: new OffscreenCanvas(1, 1)}
}

// `extend` adds to the view before anything is drawn
export function renderView({model, el: host}, extend = () => {}) {
  const v = state(model, widgetRoot(host, 'segkc', 'mask viewer'))
  v.el.tabIndex = 0
  build(v)
  palette(v)
  pointer(v)
  v.later = scheduler(v)
  watchTraits(v)
  watchMessages(v)
  watchKeys(v)
  watchPage(v)
  v.off.push(hideStill(v.model))
  extend(v)
  v.later('new')
  return () => v.off.forEach(f => f())
}

// Draws once per event, however many traits changed
function scheduler(v) {
  let waiting = ''
  const run = guarded(v, () => {
    const what = waiting
    waiting = ''
    return what === 'new' ? arrive(v) : draw(v)
  })
  return what => {
    if (!waiting) {
      v.since = performance.now()
      queueMicrotask(run)
    }
    if (waiting !== 'new') waiting = what
  }
}

export function onModel(v, event, f) {
  const g = guarded(v, f)
  v.model.on(event, g)
  v.off.push(() => v.model.off(event, g))
}

function watchTraits(v) {
  const on = (traits, f) => traits.forEach(name => onModel(v, `change:${name}`, f))
  const drawn = (traits, first) => on(traits, () => {
    if (v.image) first(v)
    v.later('draw')
  })
  on(['_item', '_panels'], () => v.later('new'))
  on(['opacity', 'threshold', 'cell', 'zoom'], () => v.later('draw'))
  drawn(['classes', 'safe'], recolour)
  drawn(['quality', 'matrix'], pairing)
  drawn(['height'], size)
}

function recolour(v) {
  palette(v)
  legends(v)
}

function watchMessages(v) {
  onModel(v, 'msg:custom', (msg, buffers) => {
    if (msg.error) throw Error(msg.error)
    if (msg.file) save(msg.file, buffers[0])
    if (msg.hold && v.lacks) v.later('new')
  })
}

function watchKeys(v) {
  const own = ev => !commanding(ev) || v.tool?.undoes(ev) // JupyterLab would undo what was done to cells
  v.off.push(ownKeys(v.el, own))
  v.el.addEventListener('keydown', guarded(v, ev => {
    if (!own(ev)) return
    ev.stopPropagation()
    holdShift(v, ev)
    if (v.item && !keepsKey(ev.target, ev.key) && press(v, keyOf(ev), ev.repeat)) ev.preventDefault()
  }))
  for (const type of ['keyup', 'keypress']) v.el.addEventListener(type, ev => ev.stopPropagation())
  for (const type of ['keyup', 'focusout']) v.el.addEventListener(type, ev => releaseShift(v, ev))
  v.off.push(() => clearTimeout(v.holding))
}

// Shift counts if it is held for a while, and not as part of another key
function holdShift(v, ev) {
  clearTimeout(v.holding)
  if (ev.key !== 'Shift' || ev.repeat || v.shift) return
  v.holding = setTimeout(() => {
    v.shift = true
    v.model.send({key: 'Shift'})
  }, 250)
}

function releaseShift(v, ev) {
  if (ev.type === 'keyup' && ev.key !== 'Shift') return
  clearTimeout(v.holding)
  if (v.shift) v.model.send({key: 'ShiftUp'})
  v.shift = false
}

// Size and theme; the canvases beside the panels have the colour of the page's text
function watchPage(v) {
  const {body, head, side} = v.ui
  let was = ''
  const fit = guarded(v, () => {
    const seen = scrolled(v)
    room.observe(seen)
    const now = [body.clientWidth, head.offsetHeight, side.offsetWidth, seen.clientHeight, devicePixelRatio].join()
    if (!v.image || now === was) return
    was = now
    size(v)
    redraw(v)
  })
  const room = new ResizeObserver(fit)
  for (const e of [body, head, side]) room.observe(e)
  window.addEventListener('resize', fit)
  const theme = new MutationObserver(guarded(v, () => redraw(v)))
  theme.observe(document.body, {attributeFilter: ['class', 'data-jp-theme-name', 'data-vscode-theme-kind']})
  v.off.push(() => window.removeEventListener('resize', fit), () => clearTimeout(v.resting))
  v.off.push(() => room.disconnect(), () => theme.disconnect())
}

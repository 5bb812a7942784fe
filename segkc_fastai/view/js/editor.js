// The widget MaskEditor: a viewer whose panel `mask` can be painted
import {initialize} from './arrive.js'
import {byteThreshold} from './counts.js'
import {commanding, hasFocus} from './dom.js'
import {newEdit, redo, remember, setRuns, undo} from './edits.js'
import {buildBar, showBar, sayState} from './editor_bar.js'
import {clamp} from './geometry.js'
import {escape, stepThreshold} from './keys.js'
import {marks, placeMarks} from './mask_draw.js'
import {pointUnder} from './pointer.js'
import {placeRegion} from './region.js'
import {hearEdits, maskOf, PAGE, spread} from './shared_mask.js'
import {
  acceptAgreed, acceptRegion, bigger, brushes, classUnder, fillArea, fillOutline, strokeTo, TOOLS,
} from './tools.js'
import {guarded, say} from './traits.js'
import {onModel, renderView} from './view.js'

export class Editor {
  constructor(v) {
    Object.assign(this, {v, tool: 'brush', size: 15, chosen: 0, outlined: true, ...this.nothing()})
    this.ignore = v.look.ignore
    buildBar(this)
    onModel(v, 'change:status', () => this.mask && sayState(this))
    onModel(v, 'change:region', () => this.mask && this.showRegion())
    const tick = setInterval(guarded(v, () => this.second()), 1000)
    const flush = () => this.send()
    window.addEventListener('pagehide', flush)
    v.off.push(() => clearInterval(tick), () => window.removeEventListener('pagehide', flush))
    v.off.push(() => this.mask?.views.delete(this))
  }

  nothing() { return {points: [], press: undefined, edit: newEdit(), unsent: [], unsaved: undefined} }

  // A new image, or other panels for the same; a stroke in progress is an edit of the mask before
  begin() {
    const {v} = this
    this.finish()
    this.panel = v.byTitle.get('mask')
    const mask = maskOf(this, v.item, this.panel.label)
    if (mask !== this.mask) Object.assign(this, {mask, ...this.nothing()})
    this.mask.views.add(this)
    this.panel.label = this.mask.label
    if (this.marks?.parentNode !== this.panel.canvas.parentNode) this.marks = marks(this.panel)
    showBar(this)
    sayState(this)
  }

  // The image moved, or is another one
  drawn() {
    this.mark()
    placeRegion(this)
  }

  showRegion() {
    showBar(this)
    placeRegion(this)
  }

  second() {
    const focused = hasFocus(this.v.el)
    if (!this.mask || !focused || document.visibilityState !== 'visible') return
    this.mask.seconds++
    if (this.mask.seconds - this.unsaved >= 30) this.save('auto')
    sayState(this)
  }

  // Gives the pixels of runs a class, in all views
  paint(runs, to) {
    if (this.waits()) return
    const news = setRuns(this.mask.label, runs, to, this.edit)
    if (!news.length) return
    for (const o of news) this.unsent.push(o)
    spread(this.mask, news)
    this.flushing ??= setTimeout(guarded(this.v, () => this.send()), 250) // a long stroke is sent in pieces
  }

  // After an arrow key, until another image is there or the kernel says that this one stays
  waits() {
    if (this.mask.left) say(this.v, 'wait for the next image')
    return this.mask.left
  }

  // Ends a stroke in progress
  finish() {
    if (!this.drawing) return
    Object.assign(this, {drawing: false, points: []})
    this.commit()
  }

  commit() {
    remember(this.mask.history, this.edit)
    this.edit = newEdit()
    this.send()
    this.mark()
    sayState(this)
  }

  send(triples = this.unsent) {
    clearTimeout(this.flushing)
    this.flushing = undefined
    if (!triples.length) return
    const {of, seconds, sent} = this.mask
    this.v.model.send({edit: PAGE, of, seconds}, undefined, [Int32Array.from(triples).buffer])
    sent.push(triples)
    this.unsent = []
    this.unsaved ??= seconds // of the first edit that is not saved
  }

  save(how) {
    if (this.waits()) return
    this.send()
    const {of, seconds} = this.mask
    this.v.model.send({save: how, of, seconds, over: this.v.item.disk})
    this.unsaved = undefined
  }

  leave(key) {
    if (this.waits()) return
    this.finish()
    this.v.asked = performance.now()
    const {of, seconds} = this.mask
    this.mask.left = true
    this.v.model.send({key, of, seconds})
  }

  step(how) {
    if (this.waits()) return
    const began = performance.now()
    this.finish()
    const triples = how(this.mask.history, this.mask.label)
    if (!triples) return say(this.v, how === undo ? 'nothing to undo' : 'nothing to redo')
    this.send(triples)
    spread(this.mask, triples)
    sayState(this)
    this.v.el.dataset.undo = (performance.now() - began).toFixed(2)
  }

  use(name) {
    Object.assign(this, {tool: name, points: []})
    this.mark()
    showBar(this)
    say(this.v, TOOLS[name].about)
  }

  choose(k) {
    this.chosen = k
    if (this.tool === 'eraser' || this.tool === 'pick') this.tool = 'brush'
    showBar(this)
  }

  resize(size) {
    this.size = clamp(size, 1, 401)
    showBar(this)
    this.mark()
  }

  // The brush and the outline over the mask
  mark(ev) {
    if (!this.marks || !this.v.geo) return
    const at = ev && pointUnder(this.v, ev, this.panel)
    const brush = at && brushes(this) ? [Math.floor(at[0]) + .5, Math.floor(at[1]) + .5, this.size / 2] : null
    const open = at && this.tool === 'polygon'
    placeMarks(this.v, this.panel, this.marks, open ? [...this.points, at] : this.points, brush)
  }

  // True if the event is not left to the viewer, which moves the image
  down(ev, p) {
    if (!this.mask || ev.button || ev.shiftKey || !p.label && p.kind !== 'disagreement') return false
    const at = pointUnder(this.v, ev, p)
    if (this.tool === 'pick') this.pick(p, at)
    else if (p !== this.panel) this.press = [p, ev.clientX, ev.clientY] // a click accepts, a drag moves
    else this.begun(ev, at)
    return p === this.panel || this.tool === 'pick'
  }

  begun(ev, at) {
    ev.preventDefault()
    if (brushes(this)) this.drawing = this.stroke(at)
    else if (this.tool === 'lasso') this.drawing = Boolean(this.points.push(at))
    else if (this.tool === 'fill') fillArea(this, at)
    else this.corner(ev, at)
    this.mark(ev)
  }

  stroke(at) {
    const began = performance.now()
    strokeTo(this, at)
    this.v.el.dataset.stroke = (performance.now() - began).toFixed(2)
    return true
  }

  // Pointer events have no number of clicks
  corner({clientX: x, clientY: y, timeStamp}, at) {
    const [x0, y0, before] = this.clicked || []
    this.clicked = [x, y, timeStamp]
    if (this.points.length && timeStamp - before < 400 && Math.hypot(x - x0, y - y0) < 5) fillOutline(this)
    else this.points.push(at)
  }

  pick(p, at) {
    const k = classUnder(this, p, at)
    if (k !== null) this.choose(k)
  }

  move(ev, p) {
    if (!this.mask || p !== this.panel) return
    for (const o of this.drawing ? ev.getCoalescedEvents?.() || [ev] : []) {
      const at = pointUnder(this.v, o, p)
      if (this.tool === 'lasso') this.points.push(at)
      else this.stroke(at)
    }
    this.mark(ev)
  }

  up(ev) {
    const [p, x, y] = this.press || []
    this.press = undefined
    const still = p && ev.type === 'pointerup' && Math.hypot(ev.clientX - x, ev.clientY - y) < 4
    if (still) acceptRegion(this, p, pointUnder(this.v, ev, p))
    if (this.drawing && this.tool === 'lasso' && ev.type !== 'pointercancel') fillOutline(this)
    this.finish()
  }

  undoes(ev) { return commanding(ev) && !ev.altKey && /^[zy]$/i.test(ev.key) }

  // True if the key is one of the editor; one that is held saves once
  key(key, held) {
    const name = Object.keys(TOOLS).find(o => TOOLS[o].key === key)
    const act = name ? () => this.use(name) : /^[1-9]$/.test(key) ? () => this.digit(key - 1) : EDIT_KEYS[key]
    if (act && this.mask && !(held && key === 's')) act.call(this)
    return Boolean(act)
  }

  digit(k) {
    if (k < this.v.K) this.choose(k)
  }
}

const EDIT_KEYS = {
  a() {
    const {v} = this
    const proposals = v.panels.filter(p => p.kind === 'label' && p !== this.panel && p.title !== 'on disk')
    if (!proposals.length) return say(v, 'no network has a proposal')
    acceptAgreed(this, proposals, byteThreshold(v.model.get('threshold')))
  },
  x() { this.choose(this.ignore) },
  z() { this.step(undo) },
  y() { this.step(redo) },
  Z() { this.step(redo) },
  s() { this.save('now') },
  h() {
    this.outlined = !this.outlined
    this.showRegion()
  },
  ','() { stepThreshold(this.v, -5) },
  '.'() { stepThreshold(this.v, 5) },
  '['() { this.resize(bigger(this.size, -1)) },
  ']'() { this.resize(bigger(this.size, 1)) },
  Enter() { if (this.tool === 'polygon') fillOutline(this) },
  Escape() {
    if (!this.points.length) return escape(this.v)
    this.points = []
    this.mark()
  },
  ArrowLeft() { this.leave('ArrowLeft') },
  ArrowRight() { this.leave('ArrowRight') },
}

function initializeEditor({model}) {
  const off = [initialize({model}), hearEdits(model)]
  return () => off.forEach(f => f())
}

const renderEditor = given => renderView(given, v => v.tool = new Editor(v))

export default {initialize: initializeEditor, render: renderEditor}

// The head of an explorer: which record, image and network is shown, and in which order
import {button, commanding, el, keepsKey, ownKeys, put, save, u8, widgetRoot} from './dom.js'
import {clamp} from './geometry.js'

function renderNavigator({model, el: host}) {
  const root = widgetRoot(host, 'segkc segkc-nav', model.get('title'))
  const n = {model, root, url: URL.createObjectURL(new Blob([u8(model.get('sprite'))]))}
  buildHead(n, el(root, 'div', 'tools'))
  buildActions(n, el(root, 'div', 'tools'))
  buildStrip(n)
  const said = el(root, 'div', 'said')
  n.bad = el(said, 'div', 'line bad')
  n.bad.setAttribute('role', 'alert')
  n.note = el(said, 'div', 'note')
  shareFocus(root)
  const off = [watchModel(n), ownKeys(root), () => URL.revokeObjectURL(n.url)]
  return () => off.forEach(f => f())
}

// Head and viewer are one focus: the viewer gets the keys, and after a click with the pointer the focus as well
function shareFocus(root) {
  const viewer = () => root.closest('.widget-box')?.querySelector('.segkc:not(.segkc-nav)')
  for (const type of ['keydown', 'keyup', 'keypress']) {
    root.addEventListener(type, ev => {
      if (commanding(ev)) return
      ev.stopPropagation()
      if (keepsKey(ev.target, ev.key)) return
      if (viewer()?.dispatchEvent(new KeyboardEvent(type, ev)) === false) ev.preventDefault()
    })
  }
  const handOver = ({target}) => {
    if (target.type !== 'range' && !target.matches(':focus-visible')) viewer()?.focus({preventScroll: true})
  }
  root.addEventListener('change', handOver)
  root.addEventListener('click', ev => ev.target.closest('button') && handOver({target: ev.target.closest('button')}))
}

function set(n, name, value) {
  n.model.set(name, value)
  n.model.save_changes()
}

const howMany = (n, name) => n.model.get(name === 'record' ? 'records' : 'names').length

const stepBy = (n, name, by) => set(n, name, clamp(n.model.get(name) + by, 0, howMany(n, name) - 1))

function buildHead(n, bar) {
  const group = () => el(bar, 'span', 'group')
  el(bar, 'b', '', n.model.get('title'))
  buildRecords(n, group())
  const images = group()
  button(images, '◀', 'previous image (←)', () => stepBy(n, 'at', -1))
  n.image = el(images, 'output', 'image')
  button(images, '▶', 'next image (→)', () => stepBy(n, 'at', 1))
  const choices = group()
  for (const name of ['network', 'sort']) n[name] = select(n, choices, name)
}

function buildRecords(n, box) {
  button(box, '◀', 'earlier record (↓)', () => stepBy(n, 'record', -1))
  n.record = el(box, 'input', 'record')
  Object.assign(n.record, {type: 'range', min: 0, oninput: () => set(n, 'record', +n.record.value)})
  n.record.title = 'record (↑ ↓)'
  button(box, '▶', 'later record (↑)', () => stepBy(n, 'record', 1))
  n.when = el(box, 'output')
  button(box, '⟳', 'read the records again', () => n.model.send({do: 'look again'}))
}

function buildActions(n, bar) {
  Object.assign(n, {toggles: {}, jumps: []})
  for (const kind of ['jump', 'toggle', 'numbers', 'save']) buildGroup(n, el(bar, 'span', 'group'), kind)
}

// The buttons of one kind: to another image, what is shown besides, numbers, and files
function buildGroup(n, box, kind) {
  for (const name of n.model.get('jumps')) {
    const [is, about] = n.model.get('about')[name] || ['jump', `to the image: ${name}`]
    if (is !== kind) continue
    const b = button(box, name, about, () => n.model.send({do: name}), 'jump')
    n.jumps.push(b)
    if (kind === 'toggle') n.toggles[name] = b
  }
  box.hidden = !box.children.length
}

// Hidden if there is nothing to choose
function select(n, bar, name) {
  const options = n.model.get(`${name}s`)
  const box = el(bar, 'label', '', name)
  const e = el(box, 'select', name)
  for (const option of options) el(e, 'option', '', option)
  e.onchange = () => set(n, name, e.value)
  box.hidden = options.length < 2
  return e
}

// Thumbnails travel once, as one picture; another order only moves them
function buildStrip(n) {
  n.strip = el(n.root, 'div', 'strip')
  n.thumbs = n.model.get('names').map((name, i) => thumb(n, name, i))
  n.strip.hidden = n.thumbs.length < 2
}

function thumb(n, name, i) {
  const e = el(n.strip, 'button', 'thumb')
  Object.assign(el(e, 'div').style, spriteStyle(n.model.get('sprite_size'), n.url, i))
  e.say = el(e, 'small')
  e.title = name
  e.onclick = () => n.model.send({go: i})
  return e
}

// The part of the picture of all thumbnails that belongs to one
export function spriteStyle([w, h, columns], url, i) {
  const at = `${-w * (i % columns)}px ${-h * Math.floor(i / columns)}px`
  return {width: `${w}px`, height: `${h}px`, backgroundImage: `url(${url})`, backgroundPosition: at}
}

function showState(n) {
  const get = name => n.model.get(name)
  const i = get('order')[get('at')]
  Object.assign(n.record, {max: howMany(n, 'record') - 1, value: get('record')})
  put(n.when, `${get('records')[get('record')]} (${get('record') + 1}/${howMany(n, 'record')})`)
  put(n.image, `${get('names')[i]} (${get('at') + 1}/${howMany(n, 'at')})`)
  for (const name of ['network', 'sort']) n[name].value = get(name)
  for (const [name, b] of Object.entries(n.toggles)) b.setAttribute('aria-pressed', get('pressed').includes(name))
  showReasons([...n.jumps, ...n.sort.options], get('why_not'))
  showText(n.bad, get('error'))
  showText(n.note, get('note'))
  showThumbs(n, get('order'), get('values'), i)
}

// Buttons and orders that do not apply are disabled, and say why
function showReasons(elements, why) {
  for (const e of elements) {
    const name = e.textContent
    e.dataset.about ??= e.title
    Object.assign(e, {disabled: name in why, title: why[name] || e.dataset.about})
  }
}

function showText(e, text) {
  put(e, text)
  e.hidden = !text
}

function showThumbs({thumbs, strip}, order, values, i) {
  order.forEach((k, place) => thumbs[k].style.order = place)
  thumbs.forEach((e, k) => {
    put(e.say, values[k] || '')
    e.setAttribute('aria-label', [e.title, values[k]].filter(o => o).join(', '))
    e.setAttribute('aria-current', k === i)
  })
  const {offsetLeft, firstChild} = thumbs[i]
  const end = offsetLeft + firstChild.offsetWidth
  const outside = offsetLeft < strip.scrollLeft || end > strip.scrollLeft + strip.clientWidth
  if (outside) strip.scrollLeft = offsetLeft - strip.clientWidth / 2
}

// Draws once per event, however many traits changed
function watchModel(n) {
  let waiting = false
  const later = () => {
    if (!waiting) queueMicrotask(() => {
      waiting = false
      showState(n)
    })
    waiting = true
  }
  const keep = (msg, buffers) => {
    if (msg.file) save(msg.file, buffers[0])
  }
  n.model.on('change', later)
  n.model.on('msg:custom', keep)
  later()
  return () => {
    n.model.off('change', later)
    n.model.off('msg:custom', keep)
  }
}

export default {render: renderNavigator}

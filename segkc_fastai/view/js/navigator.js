// The head of an explorer: which record, image and network is shown, and in which order
import {commanding, el, ownKeys, put, save, u8} from './dom.js'
import {clamp} from './geometry.js'

function renderNavigator({model, el: host}) {
  const root = el(host, 'div', 'segkc segkc-nav')
  const n = {model, root, url: URL.createObjectURL(new Blob([u8(model.get('sprite'))]))}
  buildHead(n, el(root, 'div', 'tools'))
  n.bad = el(root, 'div', 'line bad')
  n.note = el(root, 'div', 'note')
  buildStrip(n)
  const off = [watchModel(n), ownKeys(root), () => URL.revokeObjectURL(n.url)]
  for (const type of ['keydown', 'keyup', 'keypress']) {
    root.addEventListener(type, ev => commanding(ev) || ev.stopPropagation())
  }
  return () => off.forEach(f => f())
}

function set(n, name, value) {
  n.model.set(name, value)
  n.model.save_changes()
}

const howMany = (n, name) => n.model.get(name === 'record' ? 'records' : 'names').length

const stepBy = (n, name, by) => set(n, name, clamp(n.model.get(name) + by, 0, howMany(n, name) - 1))

function buildHead(n, bar) {
  el(bar, 'b', '', n.model.get('title'))
  button(bar, '◀', 'earlier').onclick = () => stepBy(n, 'record', -1)
  n.record = el(bar, 'input', 'record')
  Object.assign(n.record, {type: 'range', min: 0, oninput: () => set(n, 'record', +n.record.value)})
  button(bar, '▶', 'later').onclick = () => stepBy(n, 'record', 1)
  n.when = el(bar, 'output')
  button(bar, '⟳', 'look for new records').onclick = () => n.model.send({do: 'look again'})
  button(bar, '◀', 'previous image', 'before').onclick = () => stepBy(n, 'at', -1)
  n.image = el(bar, 'output', 'image')
  button(bar, '▶', 'next image').onclick = () => stepBy(n, 'at', 1)
  for (const name of ['network', 'sort']) n[name] = select(n, bar, name)
  for (const jump of n.model.get('jumps')) button(bar, jump, '', 'jump').onclick = () => n.model.send({do: jump})
}

function button(bar, text, title, cls) {
  return Object.assign(el(bar, 'button', cls, text), {title})
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
  e.onclick = () => set(n, 'at', n.model.get('order').indexOf(i))
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
  showText(n.bad, get('error'))
  showText(n.note, get('note'))
  showThumbs(n, get('order'), get('values'), i)
}

function showText(e, text) {
  put(e, text)
  e.hidden = !text
}

function showThumbs({thumbs, strip}, order, values, i) {
  order.forEach((k, place) => thumbs[k].style.order = place)
  thumbs.forEach((e, k) => {
    put(e.say, values[k] || '')
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

// Shared by all widgets: bytes, elements, keys, files

export const u8 = d => d ? new Uint8Array(d.buffer, d.byteOffset, d.byteLength) : null

export function el(parent, tag, cls, text) {
  const e = document.createElement(tag)
  if (cls) e.className = cls
  if (text != null) e.textContent = text
  parent?.append(e)
  return e
}

// What holds a widget, with its name for screen readers
export function widgetRoot(host, cls, name) {
  const e = el(host, 'div', cls)
  e.setAttribute('role', 'group')
  e.setAttribute('aria-label', name)
  return e
}

export function svgEl(parent, tag, cls) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag)
  if (cls) e.setAttribute('class', cls)
  parent.append(e)
  return e
}

// A button with a tooltip, which also names it for screen readers
export function button(parent, text, about, act, cls) {
  const b = el(parent, 'button', cls, text)
  Object.assign(b, {type: 'button', title: about, onclick: act})
  if (!/\w/.test(text)) b.setAttribute('aria-label', about) // a symbol has no name
  return b
}

// An unchanged text is not written again, because that would trigger a new layout of the page
export function put(e, text) {
  if (e.textContent !== text) e.textContent = text
}

// Some keyboards have brackets with AltGr, which counts as Ctrl and Alt, or with Option
const bracket = ev => ev.altKey && !ev.metaKey && /^[[\]]$/.test(ev.key)

export const commanding = ev => (ev.ctrlKey || ev.metaKey || ev.altKey) && !bracket(ev)

// Caps Lock changes no key
export function keyOf({key, shiftKey}) {
  if (key.length > 1) return key
  return shiftKey ? key.toUpperCase() : key.toLowerCase()
}

// A select and a slider keep the keys that change them, a button the keys that press it
export function keepsKey({tagName, type}, key) {
  if (tagName === 'SELECT') return key !== 'Escape'
  if (type === 'range') return /^(Arrow|Home|End|Page)/.test(key)
  return tagName === 'BUTTON' && (key === ' ' || key === 'Enter')
}

// Notebook 7 handles its shortcuts before any listener here. Inside `root` it must only see those that are not `own`
export function ownKeys(root, own = ev => !commanding(ev)) {
  const mark = ev => root.toggleAttribute('data-lm-suppress-shortcuts', own(ev))
  window.addEventListener('keydown', mark, true)
  return () => window.removeEventListener('keydown', mark, true)
}

// Keys that no part of a widget uses do nothing in the page around it either
export function keepKeys(root) {
  for (const type of ['keydown', 'keyup', 'keypress']) {
    root.addEventListener(type, ev => commanding(ev) || ev.stopPropagation())
  }
  return ownKeys(root)
}

export const hasFocus = e => e.contains(e.getRootNode().activeElement)

// Follows one pointer at a time, so that a second finger or a palm does nothing, until it is released anywhere
export function followPointer(e, {down, move, up}) {
  let held = null
  const one = f => ev => (held ?? ev.pointerId) === ev.pointerId && f(ev)
  const release = one(ev => {
    if (held === null) return
    held = null
    up(ev)
  })
  e.addEventListener('pointerdown', one(ev => {
    held = ev.pointerId
    down(ev)
  }))
  e.addEventListener('pointermove', one(ev => {
    if (!ev.buttons) release(ev) // it was released where no page hears it
    move(ev)
  }))
  const ends = ['pointerup', 'pointercancel']
  for (const type of ends) window.addEventListener(type, release, {capture: true})
  return () => ends.forEach(type => window.removeEventListener(type, release, {capture: true}))
}

export function save(name, bytes) {
  const a = el(null, 'a')
  a.href = URL.createObjectURL(new Blob([u8(bytes)]))
  a.download = name
  a.click()
  setTimeout(() => URL.revokeObjectURL(a.href), 1000)
}

// A rule hides the picture that stays in a saved notebook, until the function that is returned is called
export function hideStill(model) {
  const rules = el(document.head, 'style')
  const hide = () => rules.append(`.segkc-static-${model.get('_key')}{display:none!important}`)
  hide()
  model.on('change:_key', hide)
  return () => {
    model.off('change:_key', hide)
    rules.remove()
  }
}

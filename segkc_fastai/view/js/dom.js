// Shared by all widgets: bytes, elements, keys, files

export const u8 = d => d ? new Uint8Array(d.buffer, d.byteOffset, d.byteLength) : null

export function el(parent, tag, cls, text) {
  const e = document.createElement(tag)
  if (cls) e.className = cls
  if (text != null) e.textContent = text
  parent?.append(e)
  return e
}

// An unchanged text is not written again, because that would trigger a new layout of the page
export function put(e, text) {
  if (e.textContent !== text) e.textContent = text
}

export const commanding = ev => ev.ctrlKey || ev.metaKey || ev.altKey

// Notebook 7 handles its shortcuts before any listener here. Inside `root` it must only see those that are not `own`
export function ownKeys(root, own = ev => !commanding(ev)) {
  const mark = ev => root.toggleAttribute('data-lm-suppress-shortcuts', own(ev))
  window.addEventListener('keydown', mark, true)
  return () => window.removeEventListener('keydown', mark, true)
}

export function save(name, bytes) {
  const a = el(null, 'a')
  a.href = URL.createObjectURL(new Blob([u8(bytes)]))
  a.download = name
  a.click()
  setTimeout(() => URL.revokeObjectURL(a.href), 1000)
}

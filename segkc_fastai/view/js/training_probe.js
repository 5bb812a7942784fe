// The newest record of the probe images: one row per image, one column per network, legends below
import {el} from './dom.js'

// Decoded before they replace the old ones, so nothing flickers; a newer record is not replaced by an older one
export async function showProbe(box, probe) {
  const mine = box.record = (box.record || 0) + 1
  if (!probe.rows) return box.replaceChildren()
  const table = el(null, 'table')
  table.style.width = `${90 + 226 * probe.columns.length}px` // or less, if the page is narrower
  const head = table.insertRow()
  el(head, 'th')
  for (const c of probe.columns) el(head, 'th', '', c)
  const decoded = probe.rows.flatMap(row => pictureRow(table, row, probe.columns))
  await Promise.all(decoded)
  if (mine !== box.record) return
  box.replaceChildren(el(null, 'div', 'title', probe.title), table, ...probe.legends.map(colourNames))
}

function pictureRow(table, {name, images}, columns) {
  const row = table.insertRow()
  row.insertCell().textContent = name
  return images.map(({data, width, height}, i) => {
    const img = Object.assign(new Image(width, height), {alt: `${columns[i]} of ${name}`})
    const url = URL.createObjectURL(new Blob([data], {type: 'image/jpeg'}))
    img.src = url
    row.insertCell().append(img)
    return img.decode().finally(() => URL.revokeObjectURL(url))
  })
}

function colourNames(entries) {
  const line = el(null, 'div', 'names')
  for (const [text, colour] of entries) {
    const name = el(line, 'span')
    el(name, 'i', 'box').style.background = colour
    name.append(text)
  }
  return line
}

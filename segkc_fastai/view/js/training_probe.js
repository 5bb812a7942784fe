// The newest record of the probe images: one row per image, one column per network, legends below
import {el} from './dom.js'

// Decoded before they replace the old ones, so nothing flickers
export async function showProbe(box, probe) {
  if (!probe.rows) return box.replaceChildren()
  const table = el(null, 'table')
  table.style.width = `${90 + 226 * probe.columns.length}px` // or less, if the page is narrower
  const head = table.insertRow()
  el(head, 'th')
  for (const c of probe.columns) el(head, 'th', '', c)
  const decoded = probe.rows.flatMap(row => pictureRow(table, row))
  await Promise.all(decoded)
  box.replaceChildren(el(null, 'div', 'title', probe.title), table, ...probe.legends.map(colourNames))
}

function pictureRow(table, {name, images}) {
  const row = table.insertRow()
  row.insertCell().textContent = name
  return images.map(({data, width, height}) => {
    const img = new Image(width, height)
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

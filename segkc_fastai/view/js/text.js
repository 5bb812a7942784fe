// Formats of numbers and names

export const percent = (n, of, digits = 1) => of ? `${(100 * n / of).toFixed(digits)} %` : '–'

export const short = (s, n) => s.length > n ? s.slice(0, n - 1) + '…' : s

export const thousands = n => n.toLocaleString('en')

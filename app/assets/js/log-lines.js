// What a log's lines are, without a page: their colours, their level, and how many rows each takes when it is wrapped.

const COLOURS = { 1: 'b', 2: 'dim', 31: 'red', 32: 'grn', 33: 'yel', 34: 'blu', 35: 'mag', 36: 'cyn', 90: 'dim', 91: 'red', 92: 'grn', 93: 'yel' };
const TIME = /^\d\d:\d\d:\d\d\s+/;
const TAB = 8;
// What turns the reading order round is shown as a sign: a line must read as it was written (app/domain/inert.py).
const TRICKS = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/g;

export const ALL = 0;
export const WARNING = 1;
export const ERROR = 2;

/** The level of a line; what is indented below an error or a warning belongs to it. */
export function levelOf(text, before) {
  if (!TIME.test(text) && /^\s{2,}\S/.test(text)) return before;
  const said = text.replace(TIME, '');
  if (/^(│ )?Error:/.test(said) || /^Stopped: /.test(said)) return ERROR;
  return /^(│ )?Warning:/.test(said) ? WARNING : ALL;
}

// Sequences of a terminal, and characters without a shape.
const CONTROL = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const visible = text => text.replace(CONTROL, '');

/** How many rows of so many columns a line takes when it is broken anywhere. */
export function rowsOf(text, columns) {
  const plain = visible(text);
  if (plain.length <= columns && !plain.includes('\t') && plain.search(WIDE) < 0) return 1;
  let width = 0;
  for (const c of plain) width += c === '\t' ? TAB - (width % TAB) : c.match(WIDE) ? 2 : 1;
  return Math.max(1, Math.ceil(width / columns));
}

/** Split a line into [text, classes] by its ANSI colours; everything else of them is dropped. */
export function spans(text) {
  const out = [];
  const clean = text
    .replace(CONTROL, m => (/^\x1b\[[0-9;]*m$/.test(m) ? m : ''))
    .replace(TRICKS, '\ufffd');
  let classes = new Set();
  let from = 0;
  for (const m of clean.matchAll(/\x1b\[([0-9;]*)m/g)) {
    if (m.index > from) out.push([clean.slice(from, m.index), [...classes]]);
    from = m.index + m[0].length;
    for (const code of (m[1] || '0').split(';').map(Number)) {
      if (code === 0) classes = new Set();
      else if (code === 22) ['b', 'dim'].forEach(c => classes.delete(c));
      else if (code === 39) classes = new Set([...classes].filter(c => c === 'b' || c === 'dim'));
      else if (COLOURS[code]) classes.add(COLOURS[code]);
    }
  }
  if (from < clean.length) out.push([clean.slice(from), [...classes]]);
  return out;
}

/** Classes for a whole line: what ends well is bold, errors and warnings have their colours beside their words. */
export function classesOf(text, level) {
  if (level) return [level === ERROR ? 'red' : 'yel'];
  return /^(Plan:|Apply complete|Destroy complete)/.test(text.replace(TIME, '')) ? ['b'] : [];
}

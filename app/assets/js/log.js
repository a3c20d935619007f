// The run's log: fetched by byte offset and resumed there, drawn as the visible lines only. Text enters by textContent;
// ANSI colours become class names of a fixed list, everything else of them is dropped.
import { $, on, say } from './dom.js';

const LINE = 20; // px, as in run.css
const OVER = 20; // lines drawn above and below the window
const COLOURS = { 1: 'b', 2: 'dim', 31: 'red', 32: 'grn', 33: 'yel', 34: 'blu', 35: 'mag', 36: 'cyn', 90: 'dim', 91: 'red', 92: 'grn', 93: 'yel' };

const root = $('#log');
const view = $('#log-v');
const pad = $('#log-pad');
const followBox = $('#log-f');
const query = $('#log-q');
const source = root.dataset.src;
const runId = Number(root.dataset.run);

const lines = [];
let partial = ''; // the last line, not ended yet
let offset = 0;
let follow = followBox.checked;
let marked = 0;
let search = '';
let hits = [];
let at = -1;
let frame = 0;

/** Split a line into [text, classes] by its ANSI colours. */
export function spans(text) {
  const out = [];
  const clean = text.replace(/\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, m => (/^\x1b\[[0-9;]*m$/.test(m) ? m : m > '\u0600' ? '\ufffd' : ''));
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

function put(parent, text, classes, tag = 'span') {
  if (!text) return;
  const node = document.createElement(tag);
  node.className = classes.map(c => `a-${c}`).join(' ');
  node.textContent = text;
  parent.append(node);
}

// Lines begin with the time of day.
function classesOf(text) {
  const said = text.replace(/^\d\d:\d\d:\d\d\s+/, '');
  if (/^(│ )?Error:/.test(said)) return ['red'];
  return /^(Plan:|Apply complete|Destroy complete)/.test(said) ? ['b'] : [];
}

function row(n) {
  const line = document.createElement('div');
  const number = document.createElement('a');
  const content = document.createElement('span');
  const text = lines[n - 1];
  line.className = `l${n === marked ? ' on' : ''}${hits[at] === n ? ' hit' : ''}`;
  line.style.transform = `translateY(${(n - 1) * LINE}px)`;
  number.href = `#L${n}`;
  number.textContent = n;
  number.tabIndex = -1;
  for (const [part, classes] of spans(text)) {
    const all = [...classes, ...classesOf(text)];
    let rest = part;
    for (let i; search && (i = rest.toLowerCase().indexOf(search)) >= 0; rest = rest.slice(i + search.length)) {
      put(content, rest.slice(0, i), all);
      put(content, rest.slice(i, i + search.length), all, 'mark');
    }
    put(content, rest, all);
  }
  line.append(number, content);
  return line;
}

function size() {
  const height = `${lines.length * LINE}px`;
  const window_ = `${Math.min(innerHeight * 0.64, Math.max(140, lines.length * LINE + 20))}px`;
  if (pad.style.height !== height) pad.style.height = height;
  if (view.style.height !== window_) view.style.height = window_;
}

function paint() {
  frame = 0;
  size();
  $('#log-n').textContent = lines.length.toLocaleString();
  $('#log-empty').hidden = lines.length > 0;
  if (follow) view.scrollTop = lines.length * LINE;
  const first = Math.max(1, Math.floor(view.scrollTop / LINE) - OVER);
  const last = Math.min(lines.length, first + Math.floor(view.clientHeight / LINE) + 2 * OVER);
  const fragment = document.createDocumentFragment();
  for (let n = first; n <= last; n++) fragment.append(row(n));
  pad.replaceChildren(fragment);
}
const draw = () => {
  frame ||= requestAnimationFrame(paint);
};

function append(text) {
  const parts = (partial + text).split('\n');
  partial = parts.pop();
  for (const part of parts) {
    lines.push(part);
    if (search && part.toLowerCase().includes(search)) hits.push(lines.length);
  }
  draw();
}

let loading = false;
let again = false;
async function load() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    for (;;) {
      const answer = await fetch(`${source}?offset=${offset}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const next = Number(answer.headers.get('X-Next-Offset') ?? offset);
      const text = await answer.text();
      if (next <= offset && !text) break;
      offset = next;
      append(text);
      if (marked && lines.length >= marked) scrollToMark();
    }
  } catch {
    setTimeout(load, 2000);
  }
  loading = false;
  if (again) {
    again = false;
    load();
  }
}

on('log', d => {
  if (d.run === runId && d.offset + d.bytes > offset) load();
});
on('run', d => {
  if (d.id === runId && (d.log_bytes ?? 0) > offset) load();
});

function unfollow() {
  follow = followBox.checked = false;
}
function go(n) {
  unfollow();
  size();
  view.scrollTop = (n - 1) * LINE - view.clientHeight / 3;
  draw();
}

let scrolled = 0;
function scrollToMark() {
  if (scrolled === marked) return;
  scrolled = marked;
  go(marked);
  root.scrollIntoView({ block: 'end' });
}
function hash() {
  const m = /^#L(\d+)$/.exec(location.hash);
  if (!m) return;
  marked = Number(m[1]);
  scrolled = 0;
  if (lines.length >= marked) scrollToMark();
}

view.addEventListener('scroll', draw, { passive: true });
view.addEventListener('wheel', e => e.deltaY < 0 && unfollow(), { passive: true });
view.addEventListener('keydown', e => {
  if (['ArrowUp', 'PageUp', 'Home'].includes(e.key)) unfollow();
  if (e.key === 'End') {
    follow = followBox.checked = true;
    draw();
  }
});
followBox.addEventListener('change', () => {
  follow = followBox.checked;
  draw();
});
new ResizeObserver(draw).observe(view);
addEventListener('hashchange', hash);

function step(by) {
  if (!hits.length) return;
  at = (at + by + hits.length) % hits.length;
  $('#log-h').textContent = `${at + 1}/${hits.length}`;
  go(hits[at]);
}
let typing = 0;
query.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    search = query.value.trim().toLowerCase();
    hits = search ? lines.flatMap((text, i) => (text.toLowerCase().includes(search) ? [i + 1] : [])) : [];
    at = -1;
    $('#log-h').textContent = search && !hits.length ? say('no_match') : '';
    if (hits.length) step(1);
    else draw();
  }, 150);
});
query.addEventListener('keydown', e => {
  if (e.key !== 'Enter') return;
  e.preventDefault();
  step(e.shiftKey ? -1 : 1);
});
$('#log-nx').addEventListener('click', () => step(1));
$('#log-p').addEventListener('click', () => step(-1));

hash();
load();

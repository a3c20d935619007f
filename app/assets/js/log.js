// The run's log: fetched by byte offset and resumed there, drawn as the visible lines only. Text enters by textContent.
import { $, on, say } from './dom.js';
import { ALL, classesOf, levelOf, rowsOf, spans } from './log-lines.js';

const LINE = 20; // px, as in run.css
const OVER = 20; // rows drawn above and below the window
const PRINTED = 3000; // lines on paper
const WRAP = 'tpm:log-wrap';

const root = $('#log');
const view = $('#log-v');
const pad = $('#log-pad');
const followBox = $('#log-f');
const wrapBox = $('#log-w');
const query = $('#log-q');
const source = root.dataset.src;
const runId = Number(root.dataset.run);

const lines = [];
const levels = [];
let partial = ''; // the last line, not ended yet
const finished = root.hasAttribute('data-ended'); // when the page came
let ended = finished;
let offset = 0;
let follow = followBox.checked;
let marked = [0, 0]; // first and last line of the permalink
let search = '';
let hits = [];
let at = -1;
let frame = 0;
let least = ALL;
let shown = null; // numbers of the lines of that level; null: all of them
let columns = 0; // of a wrapped line; 0: lines are not wrapped
let tops = null; // wrapped: the row at which each shown line begins, and behind the last the number of rows

// ---------------------------------------------------------------- which lines, and where
const count = () => (shown ? shown.length : lines.length);
const lineAt = i => (shown ? shown[i] : i + 1);
const topOf = i => (tops ? tops[i] : i);
const rows = () => topOf(count());

/** The last index whose value is not above `wanted`; values grow. */
function below(length, value, wanted) {
  let low = 0;
  let high = length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (value(middle) <= wanted) low = middle;
    else high = middle - 1;
  }
  return low;
}
const indexOf = n => (shown ? below(shown.length, i => shown[i], n) : n - 1);

function arrange() {
  shown = least ? lines.flatMap((_, i) => (levels[i] >= least ? [i + 1] : [])) : null;
  tops = null;
  if (!columns) return;
  tops = [0];
  for (let i = 0, all = count(); i < all; i++) tops.push(tops[i] + rowsOf(lines[lineAt(i) - 1], columns));
}

function add(text) {
  const n = lines.push(text);
  levels.push(levelOf(text, levels[n - 2] ?? ALL));
  if (shown && levels[n - 1] < least) return;
  shown?.push(n);
  tops?.push(tops.at(-1) + rowsOf(text, columns));
  if (search && text.toLowerCase().includes(search)) hits.push(n);
}

// ---------------------------------------------------------------- drawing
function put(parent, text, classes, tag = 'span') {
  if (!text) return;
  const node = document.createElement(tag);
  node.className = classes.map(c => `a-${c}`).join(' ');
  node.textContent = text;
  parent.append(node);
}

function row(n, top) {
  const line = document.createElement('div');
  const number = document.createElement('a');
  const content = document.createElement('span');
  const text = lines[n - 1];
  line.className = `l${n >= marked[0] && n <= marked[1] ? ' on' : ''}${hits[at] === n ? ' hit' : ''}`;
  if (top != null) line.style.transform = `translateY(${top * LINE}px)`;
  number.href = `#L${n}`;
  number.textContent = n;
  number.tabIndex = -1;
  const whole = classesOf(text, levels[n - 1]);
  for (const [part, classes] of spans(text)) {
    const all = [...classes, ...whole];
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
  const height = `${rows() * LINE}px`;
  // One that was still written has the largest window from the start.
  const most = innerHeight * 0.64;
  const window_ = `${finished ? Math.min(most, Math.max(140, rows() * LINE + 20)) : Math.round(most)}px`;
  if (pad.style.height !== height) pad.style.height = height;
  if (view.style.height !== window_) view.style.height = window_;
}

function paint() {
  frame = 0;
  size();
  $('#log-n').textContent = shown ? `${count().toLocaleString()}/${lines.length.toLocaleString()}` : lines.length.toLocaleString();
  $('#log-empty').hidden = lines.length > 0;
  if (follow) view.scrollTop = rows() * LINE;
  const from = Math.max(0, Math.floor(view.scrollTop / LINE) - OVER);
  const until = Math.floor((view.scrollTop + view.clientHeight) / LINE) + OVER;
  const fragment = document.createDocumentFragment();
  for (let i = tops ? below(count(), topOf, from) : from, all = count(); i < all && topOf(i) <= until; i++) fragment.append(row(lineAt(i), topOf(i)));
  pad.replaceChildren(fragment);
}
let printing = false;
const draw = () => {
  if (!printing && asked) frame ||= requestAnimationFrame(paint);
};

// ---------------------------------------------------------------- fetching
function append(text) {
  const parts = (partial + text).split('\n');
  partial = parts.pop();
  for (const part of parts) add(part);
  draw();
}

let asked = false; // until something is known the window is as the page came
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
      asked = true;
      if (next <= offset && !text) {
        draw();
        break;
      }
      offset = next;
      append(text);
      if (marked[0] && lines.length >= marked[0]) scrollToMark();
    }
  } catch {
    setTimeout(load, 2000);
  }
  loading = false;
  if (again) {
    again = false;
    load();
  } else if (ended && partial) append('\n'); // what was written last has no end of its own
}

on('log', d => {
  if (d.run === runId && d.offset + d.bytes > offset) load();
});
on('run', d => {
  if (d.id !== runId) return;
  ended ||= Boolean(d.ended);
  if (ended || (d.log_bytes ?? 0) > offset) load();
});

// ---------------------------------------------------------------- going somewhere
function unfollow() {
  follow = followBox.checked = false;
}
function go(n) {
  unfollow();
  size();
  view.scrollTop = topOf(indexOf(n)) * LINE - view.clientHeight / 3;
  draw();
}

let scrolled = 0;
function scrollToMark() {
  if (scrolled === marked[0]) return;
  scrolled = marked[0];
  go(scrolled);
  root.scrollIntoView({ block: 'end' });
}
function hash() {
  const m = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
  if (!m) return;
  const ends = [Number(m[1]), Number(m[2] ?? m[1])].sort((a, b) => a - b);
  marked = ends;
  scrolled = 0;
  if (lines.length >= marked[0]) scrollToMark();
}
// With the shift key a number ends what the last one began.
pad.addEventListener('click', e => {
  const number = e.target.closest('a');
  if (!number || !e.shiftKey || !marked[0]) return;
  e.preventDefault();
  const ends = [marked[0], Number(number.textContent)].sort((a, b) => a - b);
  marked = ends;
  history.replaceState(history.state, '', `#L${ends[0]}-L${ends[1]}`);
  draw();
});

view.addEventListener('scroll', draw, { passive: true });
view.addEventListener('wheel', e => e.deltaY < 0 && unfollow(), { passive: true });
view.addEventListener('touchmove', unfollow, { passive: true });
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
addEventListener('hashchange', hash);

// ---------------------------------------------------------------- levels, wrapping, paper
/** Arrange anew, and show what was shown: the line at the top of the window stays there. */
function rearranged() {
  const top = count() ? lineAt(tops ? below(count(), topOf, Math.floor(view.scrollTop / LINE)) : Math.min(Math.floor(view.scrollTop / LINE), count() - 1)) : 1;
  root.removeAttribute('data-wrap');
  measure();
  columns = wrapBox.checked ? Math.max(20, Math.floor((view.clientWidth - numbers - 16) / width)) : 0;
  root.toggleAttribute('data-wrap', Boolean(columns));
  arrange();
  find(false);
  size();
  if (!follow && count()) view.scrollTop = topOf(indexOf(top)) * LINE;
  draw();
}

/** Widths in px, as the style sheet has them now: of a letter, and of the numbers before a line. */
let width = 0;
let numbers = 0;
function measure() {
  const probe = Object.assign(document.createElement('div'), { className: 'l probe' });
  const number = document.createElement('a');
  const text = Object.assign(document.createElement('span'), { textContent: '0'.repeat(100) });
  const line = document.createElement('span');
  line.append(text);
  probe.append(number, line);
  pad.append(probe);
  width = text.getBoundingClientRect().width / 100 || 7.5;
  numbers = number.getBoundingClientRect().width;
  probe.remove();
}

wrapBox.checked = localStorage.getItem(WRAP) === '1';
wrapBox.addEventListener('change', () => {
  localStorage.setItem(WRAP, wrapBox.checked ? '1' : '');
  rearranged();
});
$('#log-l').addEventListener('change', e => {
  least = Number(e.target.value);
  rearranged();
});
let before = 0;
new ResizeObserver(() => {
  if (columns && view.clientWidth !== before) rearranged();
  before = view.clientWidth;
  draw();
}).observe(view);
document.fonts?.ready.then(() => {
  if (wrapBox.checked) rearranged();
});

addEventListener('beforeprint', () => {
  printing = true;
  cancelAnimationFrame(frame);
  frame = 0;
  const fragment = document.createDocumentFragment();
  for (let i = Math.max(0, count() - PRINTED), all = count(); i < all; i++) fragment.append(row(lineAt(i)));
  pad.replaceChildren(fragment);
});
addEventListener('afterprint', () => {
  printing = false;
  draw();
});

// ---------------------------------------------------------------- search
function step(by) {
  if (!hits.length) return;
  at = (at + by + hits.length) % hits.length;
  $('#log-h').textContent = `${at + 1}/${hits.length}`;
  go(hits[at]);
}
function find(move) {
  search = query.value.trim().toLowerCase();
  hits = [];
  for (let i = 0, all = search ? count() : 0; i < all; i++) if (lines[lineAt(i) - 1].toLowerCase().includes(search)) hits.push(lineAt(i));
  at = -1;
  $('#log-h').textContent = !search ? '' : hits.length ? `${hits.length}` : say('no_match');
  if (move && hits.length) step(1);
  else draw();
}
let typing = 0;
query.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => find(true), 150);
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

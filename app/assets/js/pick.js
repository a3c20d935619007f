// Which servers are selected: across pages, filters and reloads of one tab, until something is done with them.
import { $, $$, csrf, say } from './dom.js';
import { toast } from './toast.js';

const KEY = 'tpm:picked';
const bulk = $('#bulk');
const picked = new Set(JSON.parse(sessionStorage.getItem(KEY) ?? '[]'));
const boxes = () => $$('#tbl [name=names]');

function shown() {
  sessionStorage.setItem(KEY, JSON.stringify([...picked]));
  const here = boxes();
  for (const box of here) box.checked = picked.has(box.value);
  const count = here.filter(box => box.checked).length;
  bulk.hidden = !picked.size;
  $('#bulk-n').textContent = say('selected', { n: picked.size });
  const all = $('#all');
  if (!all) return;
  all.checked = count > 0 && count === here.length;
  all.indeterminate = count > 0 && count < here.length;
}

function pick(box) {
  if (box.checked) picked.add(box.value);
  else picked.delete(box.value);
}

async function everything(button) {
  button.setAttribute('aria-busy', 'true');
  try {
    const answer = await fetch(button.dataset.src + location.search, { headers: { Accept: 'application/json', 'X-CSRFToken': csrf() } });
    const { names, most } = await answer.json();
    for (const name of names) picked.add(name);
    if (names.length === most) toast('info', say('selected_most', { n: most }));
    shown();
  } catch {
    toast('error', say('no_answer'));
  } finally {
    button.removeAttribute('aria-busy');
  }
}

// Where the result stands, the selection has served.
if ($('#bulk-result')) sessionStorage.removeItem(KEY);
if (bulk) {
  document.addEventListener('change', e => {
    if (e.target.id === 'all') {
      for (const box of boxes()) {
        box.checked = e.target.checked;
        pick(box);
      }
    } else if (e.target.name === 'names') pick(e.target);
    else return;
    shown();
  });
  document.addEventListener('htmx:after:swap', shown);
  addEventListener('pageshow', e => e.persisted && shown());
  $('#bulk-x').addEventListener('click', () => {
    picked.clear();
    shown();
  });
  $('#bulk-all')?.addEventListener('click', e => everything(e.currentTarget));
  // Those of other pages have no box here.
  bulk.addEventListener('submit', () => {
    const here = new Set(boxes().map(box => box.value));
    for (const old of $$('[data-elsewhere]', bulk)) old.remove();
    for (const name of picked) {
      if (here.has(name)) continue;
      const field = Object.assign(document.createElement('input'), { type: 'hidden', name: 'names', value: name });
      field.dataset.elsewhere = '';
      bulk.append(field);
    }
  });
  shown();
}

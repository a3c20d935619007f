// The create page: presets fill the numbers, the summary follows, several servers preview their names.
import { $, $$, say } from './dom.js';

const form = $('#create');
const field = name => form.elements[name];
const each = $('#each');
const rows = $('#each-rows');
const chosen = name => $(`[name=${name}]:checked`, form);

const own = (row, part) => $(`[name^=row_${part}_]`, row);

function names(name) {
  const of = row => (own(row, 'name').value || own(row, 'name').placeholder).trim() || say('not_set');
  if (rows.children.length) return `${of(rows.firstElementChild)} … ${of(rows.lastElementChild)}`;
  return name || say('not_set');
}

const cores = n => say(n === 1 ? 'core_one' : 'core_many', { n });

// What the template needs is the least there can be.
function bounds() {
  const template = chosen('template');
  if (!template) return;
  field('disk_gib').min = template.dataset.disk;
  field('memory_gib').min = Number(template.dataset.minMemory) / 1024;
}

function applyTemplate() {
  const template = chosen('template');
  if (!template) return;
  const min = Number(template.dataset.disk);
  bounds();
  if (!chosen('preset')?.dataset.cores && !form.dataset.typed) {
    field('cores').value = template.dataset.cores;
    field('memory_gib').value = Number(template.dataset.memory) / 1024;
    field('disk_gib').value = min;
  }
  if (!form.dataset.typedUser) field('username').value = template.dataset.user;
  // A preset with a smaller disk than the template's grows to it.
  if (Number(field('disk_gib').value) < min && !form.dataset.typed) field('disk_gib').value = min;
}

function applyPreset() {
  const preset = chosen('preset');
  delete form.dataset.typed;
  if (preset?.dataset.cores) {
    field('cores').value = preset.dataset.cores;
    field('memory_gib').value = Number(preset.dataset.memory) / 1024;
    field('disk_gib').value = preset.dataset.disk;
  }
  applyTemplate();
}

// Networks belong to the template's cluster, and so do nodes.
function applyCluster(within = form) {
  const cluster = chosen('template')?.dataset.cluster;
  if (!cluster) return;
  for (const pick of $$('[data-in-cluster]', within)) {
    const fits = pick.dataset.inCluster === cluster;
    pick.hidden = !fits;
    if (pick.tagName === 'OPTION') pick.disabled = !fits;
    else if (!fits && $('input:checked', pick)) $('[name=node][value=""]', form).checked = true;
  }
  const network = field('network');
  for (const select of [field('storage'), ...$$('select', rows)]) if (select.selectedOptions[0]?.disabled) select.value = '';
  if (network?.selectedOptions[0]?.disabled) network.value = [...network.options].find(o => !o.disabled)?.value ?? '';
}

// What all servers have of a figure: a row's own, or else that of the form.
function together(name, part, count) {
  const usual = Number(field(name).value) || 0;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Number(rows.children[i] && own(rows.children[i], part).value) || usual;
  return sum;
}

function summary() {
  const count = Math.max(1, Number(field('count').value) || 1);
  const button = $('#go');
  rowsOf(count);
  const disks = ['disk_gib', 'disk2_gib'].map(name => field(name).value).filter(Boolean).join(' + ');
  $('#s-name').textContent = names(field('name').value.trim());
  $('#s-template').textContent = chosen('template')?.dataset.label ?? say('not_set');
  $('#s-size').textContent = say('size', { c: cores(Number(field('cores').value)), m: field('memory_gib').value, d: disks });
  $('#s-node').textContent = chosen('node')?.dataset.label ?? '';
  $('#s-ip').textContent = chosen('ip_mode')?.value === 'fixed' ? field('ip').value || say('not_set') : count > 1 ? say('next_addresses', { n: count }) : chosen('ip_mode')?.dataset.label;
  $('#s-count').textContent = say(count === 1 ? 'together' : 'server_many', { n: count });
  $('#s-total').textContent = say('size', {
    c: cores(together('cores', 'cores', count)),
    m: together('memory_gib', 'memory', count),
    d: together('disk_gib', 'disk', count) + count * (Number(field('disk2_gib').value) || 0),
  });
  const confirm = field('confirm_plan').checked;
  $('#s-note').textContent = say(confirm ? 'note_confirm' : 'note_auto');
  button.textContent = say(`${confirm ? 'plan' : 'create'}_${count === 1 ? 'one' : 'many'}`, { n: count });
  $('#ip-row').hidden = chosen('ip_mode')?.value !== 'fixed';
  slide();
}

// A slider moves its number, and the number the slider; the number is what counts. Its stops lie closer where sizes are
// small, from what the template needs to what the largest node or storage has free.
const sliders = $$('[data-slides]', form);
const STOPS = [0.5, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048, 4096];
const PLACES = { cores: ['node', 'cores'], memory_gib: ['node', 'free'], disk_gib: ['storage', 'free'] };

function most(name) {
  const [place, figure] = PLACES[name];
  const cluster = chosen('template')?.dataset.cluster;
  const all = place === 'node' ? $$('[name=node][data-free]:not(:disabled)', form).filter(n => n.closest('.pick').dataset.inCluster === cluster) : $$('option[data-free]:not(:disabled)', field(place));
  const one = place === 'node' ? all.filter(n => n.checked) : all.filter(n => n.selected);
  return Math.max(0, ...(one.length ? one : all).map(n => Number(n.dataset[figure])));
}

function slide() {
  for (const slider of sliders) {
    const number = field(slider.dataset.slides);
    const low = Math.max(Number(number.min) || 1, slider.dataset.slides === 'memory_gib' ? 0.5 : 1);
    const high = Math.max(most(slider.dataset.slides), low);
    const stops = [low, ...STOPS.filter(s => s > low && s < high), ...(high > low ? [high] : [])];
    slider.stops = stops;
    slider.max = stops.length - 1;
    slider.disabled = stops.length < 2;
    const value = Number(number.value) || low;
    slider.value = stops.findLastIndex(s => s <= Math.max(value, low));
    slider.setAttribute('aria-valuetext', `${number.value} ${$('span', number.parentElement).textContent}`);
  }
}
for (const slider of sliders) {
  slider.addEventListener('input', e => {
    e.stopPropagation();
    const number = field(slider.dataset.slides);
    number.value = slider.stops[slider.value];
    number.dispatchEvent(new Event('input', { bubbles: true }));
  });
}

// Several servers have a row each, for what one of them has for itself.
function rowsOf(count) {
  const wanted = count > 1 && count <= 100 ? count : 0;
  each.hidden = !wanted;
  while (rows.children.length > wanted) rows.lastElementChild.remove();
  for (let i = rows.children.length; i < wanted; i++) {
    const row = $('#t-each').content.cloneNode(true);
    for (const node of $$('[id],[name],[aria-describedby]', row)) {
      for (const at of ['id', 'name', 'aria-describedby']) if (node.hasAttribute(at)) node.setAttribute(at, node.getAttribute(at).replace('__i__', i));
    }
    $('td', row).textContent = i + 1;
    for (const input of $$('input,select', row)) input.setAttribute('aria-label', `${input.getAttribute('aria-label')} ${i + 1}`);
    applyCluster(row);
    rows.append(row);
  }
  const name = field('name').value.trim();
  for (const [i, row] of [...rows.children].entries()) {
    own(row, 'name').placeholder = name ? `${name}-${i + 1}` : '';
    own(row, 'cores').placeholder = field('cores').value;
    own(row, 'memory').placeholder = field('memory_gib').value;
    own(row, 'disk').placeholder = field('disk_gib').value;
  }
}

// Many templates: those whose name has the word.
for (const finder of $$('[data-filters]', form)) {
  finder.addEventListener('input', e => {
    e.stopPropagation();
    const word = finder.value.trim().toLowerCase();
    for (const pick of $$('.pick', $(finder.dataset.filters))) pick.hidden = Boolean(word) && !pick.textContent.toLowerCase().includes(word) && !$('input:checked', pick);
  });
}

form.addEventListener('input', e => {
  const { name } = e.target;
  if (name === 'preset') applyPreset();
  if (name === 'template') {
    applyCluster();
    applyTemplate();
  }
  if (['cores', 'memory_gib', 'disk_gib'].includes(name)) {
    form.dataset.typed = '1';
    const custom = $('[name=preset][value=""]', form);
    if (custom) custom.checked = true;
  }
  if (name === 'username') form.dataset.typedUser = '1';
  summary();
});

applyCluster();
bounds();
summary();
// In a list that scrolls, what is chosen is in sight.
const list = $('.cards.many', form);
if (list) list.scrollTop = (chosen('template')?.closest('.pick').offsetTop ?? 0) - list.offsetTop - 8;
// Rows that were not there when the draft was written back.
const saved = JSON.parse(form.dataset.kept ?? '{}');
for (const input of $$('input,select', rows)) if (saved[input.name]) input.value = saved[input.name];
if ($$('input,select', rows).some(input => input.value)) each.open = true;
summary();

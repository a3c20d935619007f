// The create page: presets fill the numbers, the summary follows, several servers preview their names.
import { $, $$, say } from './dom.js';

const form = $('#create');
const field = name => form.elements[name];
const chosen = name => $(`[name=${name}]:checked`, form);

function names(name, count) {
  if (!name) return say('not_set');
  return count > 1 ? `${name}-1 … ${name}-${count}` : name;
}

const cores = n => say(n === 1 ? 'core_one' : 'core_many', { n });

function applyTemplate() {
  const template = chosen('template');
  if (!template) return;
  const min = Number(template.dataset.disk);
  field('disk_gib').min = min;
  field('memory_gib').min = Number(template.dataset.minMemory) / 1024;
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
function applyCluster() {
  const cluster = chosen('template')?.dataset.cluster;
  if (!cluster) return;
  for (const pick of $$('[data-in-cluster]', form)) {
    const fits = pick.dataset.inCluster === cluster;
    pick.hidden = !fits;
    if (pick.tagName === 'OPTION') pick.disabled = !fits;
    else if (!fits && $('input:checked', pick)) $('[name=node][value=""]', form).checked = true;
  }
  const network = field('network');
  if (field('storage').selectedOptions[0]?.disabled) field('storage').value = '';
  if (network.selectedOptions[0]?.disabled) network.value = [...network.options].find(o => !o.disabled)?.value ?? '';
}

function summary() {
  const count = Math.max(1, Number(field('count').value) || 1);
  const button = $('#go');
  const disks = ['disk_gib', 'disk2_gib'].map(name => field(name).value).filter(Boolean).join(' + ');
  $('#s-name').textContent = names(field('name').value.trim(), count);
  $('#s-template').textContent = chosen('template')?.dataset.label ?? say('not_set');
  $('#s-size').textContent = say('size', { c: cores(Number(field('cores').value)), m: field('memory_gib').value, d: disks });
  $('#s-node').textContent = chosen('node')?.dataset.label ?? '';
  $('#s-ip').textContent = chosen('ip_mode')?.value === 'fixed' ? field('ip').value || say('not_set') : chosen('ip_mode')?.dataset.label;
  $('#s-total').textContent = say('total', {
    c: cores(count * (Number(field('cores').value) || 0)),
    m: count * (Number(field('memory_gib').value) || 0),
  });
  const confirm = field('confirm_plan').checked;
  $('#s-note').textContent = say(confirm ? 'note_confirm' : 'note_auto');
  button.textContent = say(`${confirm ? 'plan' : 'create'}_${count === 1 ? 'one' : 'many'}`, { n: count });
  $('#ip-row').hidden = chosen('ip_mode')?.value !== 'fixed';
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
summary();

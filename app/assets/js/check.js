// Live checks: form[data-check] is posted while typing, and the fields already touched show what the server says.
// Faults of fields nobody touched stay quiet until the form is sent.
import { $, $$, csrf } from './dom.js';

export function mark(form, name, message) {
  const box = $(`#fld-${name}`, form);
  const line = $(`#msg-${name}`, form);
  if (!box || !line) return;
  line.dataset.help ??= line.classList.contains('err') ? '' : line.textContent;
  line.textContent = message || line.dataset.help;
  line.classList.toggle('err', Boolean(message));
  box.classList.toggle('bad', Boolean(message));
  for (const field of $$('input,select,textarea', box)) {
    if (message) field.setAttribute('aria-invalid', 'true');
    else field.removeAttribute('aria-invalid');
  }
}

for (const form of $$('form[data-check]')) {
  const touched = new Set($$('[aria-invalid=true]', form).map(f => f.name));
  let timer = 0;
  let asked = 0;
  const ask = async () => {
    const turn = ++asked;
    let errors;
    try {
      const answer = await fetch(form.dataset.check, {
        method: 'POST',
        body: new FormData(form),
        headers: { Accept: 'application/json', 'X-CSRFToken': csrf() },
      });
      if (!answer.ok) return;
      ({ errors } = await answer.json());
    } catch {
      return; // The server checks again when the form is sent.
    }
    if (turn !== asked) return;
    for (const name of touched) mark(form, name, errors[name]);
  };
  form.addEventListener('input', e => {
    if (!e.target.name) return;
    touched.add(e.target.name);
    clearTimeout(timer);
    timer = setTimeout(ask, 350);
  });
}

// One dialog for every question. Buttons carry data-confirm (title), -body, -ok, -type when the name must be typed, -if.
import { $, say } from './dom.js';

export function ask({ confirm, confirmBody = '', confirmOk, confirmType = '' }) {
  const dialog = $('#confirm');
  const input = $('#cf-i');
  const ok = $('#cf-ok');
  $('#cf-t').textContent = confirm;
  $('#cf-b').textContent = confirmBody;
  ok.textContent = confirmOk;
  $('#cf-l').hidden = !confirmType;
  $('#cf-l span').textContent = say('type_to', { x: confirmType });
  input.value = '';
  ok.disabled = Boolean(confirmType);
  input.oninput = () => {
    ok.disabled = input.value.trim() !== confirmType;
  };
  dialog.returnValue = '';
  dialog.showModal();
  if (confirmType) input.focus();
  return new Promise(resolve => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'ok'), { once: true }));
}

// Enter in the name field means the answer, not the first button, which is "Keep it".
$('#cf-i')?.addEventListener('keydown', e => {
  if (e.key !== 'Enter') return;
  e.preventDefault();
  if (!$('#cf-ok').disabled) $('#confirm').close('ok');
});

// data-confirm-if names fields with data-was: the question is about changing one of them.
function matters({ dataset, form }) {
  const names = dataset.confirmIf?.split(' ');
  return !names || names.some(name => Number(form.elements[name].value) !== Number(form.elements[name].dataset.was));
}

document.addEventListener('click', async e => {
  const button = e.target.closest('[data-confirm]');
  if (!button || button.dataset.sure || !matters(button)) return;
  e.preventDefault();
  e.stopImmediatePropagation();
  if (!(await ask(button.dataset))) return;
  const { form } = button;
  // The part the button stood in was refreshed while the question was open: its form is sent all the same.
  if (form && !form.isConnected) {
    form.hidden = true;
    document.body.append(form);
  }
  const typed = form?.elements.confirm;
  if (typed && button.dataset.confirmType) typed.value = button.dataset.confirmType;
  // Without scripts the server asks instead.
  if (form?.elements.sure) form.elements.sure.value = '1';
  button.dataset.sure = '1';
  form ? form.requestSubmit(button) : button.click();
  delete button.dataset.sure;
}, true);

// The form with which people sign in, and the dialog that makes a share link.
import { field, open, submits } from './dialogs';
import type { Camera } from './camera';
import { h, show } from './dom';
import { title } from './model';
import { share, signIn } from './session';

/** Shows the form in place of the page. */
export function showSignIn(root: HTMLElement, oidc: boolean): void {
  const name = h('input', { autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true, maxlength: '128' });
  const password = h('input', { type: 'password', autocomplete: 'current-password', required: true, maxlength: '256' });
  const problem = h('div', { class: 'problem', role: 'alert', hidden: true });
  const go = h('button', { class: 'primary', type: 'submit' }, 'Sign in');
  const form = h('form', {}, h('h2', {}, 'Sign in'), field('Name', name), field('Password', password), problem, h('div', { class: 'buttons' }, go));
  if (oidc) form.append(h('a', { class: 'provider', href: '/v1/session/oidc' }, 'Sign in with your organisation'));
  submits(form, go, problem, () => signIn(name.value, password.value), () => location.reload());
  root.replaceChildren(h('section', { class: 'card', 'aria-label': 'Sign in' }, form));
  document.body.classList.add('signed-out');
  name.focus();
}

const lives: [string, string][] = [['1h', 'An hour'], ['24h', 'A day'], ['168h', 'A week'], ['720h', '30 days']];

/** Asks for how long a link is valid, and shows it. */
export function shareDialog(camera: Camera, rendition: string): void {
  const time = h('select', {}, ...lives.map(([value, says]) => h('option', { value }, says)));
  const link = h('input', { readonly: true, 'aria-label': 'Link', hidden: true });
  const problem = h('div', { class: 'problem', role: 'alert', hidden: true });
  const go = h('button', { class: 'primary', type: 'submit' }, 'Make link');
  const form = h('form', {},
    h('h2', { id: 'share-title' }, `Share ${title(camera)}`),
    h('p', {}, 'Everybody who has the link sees this camera until it ends.'),
    field('Valid for', time), link, problem,
    h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Close'), go));
  const dialog = h('dialog', { 'aria-labelledby': 'share-title' }, form);
  submits(form, go, problem, async () => { link.value = await share(camera.id, rendition, time.value); }, () => {
    show(link, true);
    link.select();
    void navigator.clipboard?.writeText(link.value).catch(() => undefined); // there is none without TLS
  });
  open(dialog);
  time.focus();
}

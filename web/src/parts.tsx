// Small parts that the page is made of.
import type { ComponentChildren } from 'preact';
import { useEffect, useReducer, useRef } from 'preact/hooks';
import { assistant } from './session';
import { words } from './words';

interface Watched { watch(watcher: () => void): () => void }

/** Draws a component again when something changes. */
export function useWatched(watched: Watched): void {
  const [, again] = useReducer((n: number) => n + 1, 0);
  useEffect(() => watched.watch(() => again(undefined)), [watched]);
}

/** Draws a component again every so many milliseconds, while wanted. */
export function useTicking(wanted: boolean, every = 250): void {
  const [, again] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    if (!wanted) return;
    const timer = setInterval(() => again(undefined), every);
    return () => clearInterval(timer);
  }, [wanted, every]);
}

const hues = ['violet', 'teal', 'amber', 'rose', 'blue', 'green'];

/** The colour of a name: a class of style.css. */
export function hue(name: string): string {
  const fixed: Record<string, string> = { Ada: 'violet', Grace: 'teal', Alan: 'amber', Hedy: 'rose', [assistant]: 'blue' };
  let sum = 0;
  for (const c of name) sum = (sum * 31 + c.codePointAt(0)!) >>> 0;
  return fixed[name] ?? hues[sum % hues.length]!;
}

/** The first letters of a name, whole characters. */
function initials(name: string): string {
  const parts = name.trim().split(/\s+/u);
  const first = (text: string) => [...new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text)][0]?.segment ?? '?';
  const letters = first(parts[0]!) + (parts.length > 1 ? first(parts.at(-1)!) : '');
  return letters.toLocaleUpperCase();
}

export function Avatar({ name, size = '', sign, several }: { name: string; size?: string; sign?: ComponentChildren; several?: boolean }) {
  return <span class={`avatar ${hue(name)} ${size} ${several ? 'several' : ''}`} aria-hidden="true">{sign ?? initials(name)}</span>;
}

const paths = {
  back: 'M15 5l-7 7 7 7', plus: 'M12 5v14M5 12h14', more: 'M5 12h.01M12 12h.01M19 12h.01', send: 'M4.5 12l15-7-5 15-3-6.500-7-1.500zM11.500 13.500l8-8.500',
  clip: 'M19 11l-7.500 7.500a5 5 0 0 1-7-7L12 4a3.300 3.300 0 0 1 4.700 4.700L9.200 16.200a1.600 1.600 0 0 1-2.300-2.300L13.500 7.500', flame: 'M12 3c1 4 5 5.500 5 11a5 5 0 0 1-10 0c0-2.500 1.500-3.500 2-5.500 1 .8 1.600 1.700 1.800 3C12.500 9.500 12.300 6 12 3z',
  clock: 'M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z', search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4', close: 'M6 6l12 12M18 6L6 18', down: 'M6 9l6 6 6-6',
  info: 'M12 11v5M12 8h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z', reply: 'M9 7L4 12l5 5M4 12h9a7 7 0 0 1 7 6', undo: 'M4 5v5h5M4.600 10A8 8 0 1 1 5 15.500', hide: 'M3 3l18 18M10 6.200A9.500 9.500 0 0 1 12 6c5 0 8.500 4 9.500 6a15 15 0 0 1-2.600 3.400M6.500 7.700A14 14 0 0 0 2.500 12c1 2 4.500 6 9.500 6a9.700 9.700 0 0 0 4.200-1',
  thread: 'M5 5h14v9H11l-4 4v-4H5z', copy: 'M9 9h10v11H9zM5 15V4h10', people: 'M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20c0-4 3-6 6.500-6s6.500 2 6.500 6M16 4.500a3.500 3.500 0 0 1 0 6.500M18 14.500c2.200.8 3.500 2.600 3.500 5.500', hash: 'M9 4L7 20M17 4l-2 16M4 9h16M4 15h16', lock: 'M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3',
  door: 'M6 20V4h9v16M3 20h18M12 12h.01', sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600L7 7M17 17l1.400 1.400M18.400 5.600L17 7M7 17l-1.400 1.400', phones: 'M4 4h6v16H4zM14 4h6v16h-6z', screen: 'M3 5h18v14H3zM9 5v14', wire: 'M8 7l-5 5 5 5M16 7l5 5-5 5',
  file: 'M7 3h7l4 4v14H7zM14 3v4h4', shield: 'M12 3l8 3v6c0 5-3.500 8-8 9-4.500-1-8-4-8-9V6zM8.500 12l2.500 2.500 4.500-5', at: 'M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0zm0 0v1.500a2.500 2.500 0 0 0 5 0V12a9 9 0 1 0-3.500 7.100', check: 'M5 12.500l4.500 4.500L19 7.500', pin: 'M9 4h6l-1 6 3 3H7l3-3zM12 13v7', quill: 'M5 19c6 0 13-3 14-14-6 0-11 3-12 10M5 19l6-7',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d={paths[name]} /></svg>;
}

/** A button with a picture, named for those who do not see it. */
export function IconButton({ icon, label, onClick, pressed, class: kind = '', ...rest }: {
  icon: IconName; label: string; onClick: (event: MouseEvent) => void; pressed?: boolean; class?: string; disabled?: boolean; id?: string; expanded?: boolean;
}) {
  const { expanded, ...more } = rest;
  return <button type="button" class={`icon-button ${kind}`} aria-label={label} title={label} aria-pressed={pressed} aria-expanded={expanded} onClick={onClick} {...more}><Icon name={icon} /></button>;
}

/** A dialog over the phone that opened it. Esc and a click beside it close it. */
export function Sheet({ title, onClose, children, class: kind = '' }: { title: string; onClose: () => void; children: ComponentChildren; class?: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current!;
    const opener = document.activeElement;
    const place = () => {
      const frame = element.parentElement?.closest('.phone')?.getBoundingClientRect();
      if (!frame) return;
      element.style.setProperty('--x', `${frame.left + frame.width / 2}px`);
      element.style.setProperty('--y', `${frame.top + frame.height / 2}px`);
      element.style.setProperty('--most', `${Math.min(frame.width - 32, 460)}px`);
      element.style.setProperty('--high', `${frame.height - 48}px`);
    };
    place();
    addEventListener('resize', place);
    element.showModal();
    return () => {
      removeEventListener('resize', place);
      element.close();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return <dialog ref={dialog} class={`sheet ${kind}`} aria-label={title} onCancel={event => { event.preventDefault(); onClose(); }}
    onClick={event => { if (event.target === dialog.current) onClose(); }} onKeyDown={event => event.stopPropagation()}>
    <div class="sheet-inside">
      <header><h2>{title}</h2><IconButton icon="close" label={words.close} onClick={onClose} /></header>
      {children}
    </div>
  </dialog>;
}

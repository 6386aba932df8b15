// Small parts that the page is made of.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { TransportError } from './api';
import type { Phone } from './phone';
import { assistant } from './session';
import type { Watched } from './watched';
import { explained, words } from './words';

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
  plug: 'M9 3v5M15 3v5M6.500 8h11v3.500a5.500 5.500 0 0 1-11 0zM12 17v4',
  bell: 'M6 17V11a6 6 0 0 1 12 0v6l1.500 1.500h-15zM10 21h4',
  file: 'M7 3h7l4 4v14H7zM14 3v4h4', shield: 'M12 3l8 3v6c0 5-3.500 8-8 9-4.500-1-8-4-8-9V6zM8.500 12l2.500 2.500 4.500-5', at: 'M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0zm0 0v1.500a2.500 2.500 0 0 0 5 0V12a9 9 0 1 0-3.500 7.100', check: 'M5 12.500l4.500 4.500L19 7.500', sliders: 'M4 8h9M17 8h3M15 6v4M4 16h3M11 16h9M9 14v4', pin: 'M9 4h6l-1 6 3 3H7l3-3zM12 13v7', quill: 'M5 19c6 0 13-3 14-14-6 0-11 3-12 10M5 19l6-7',
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

const focusable = 'a[href], button:not(:disabled), input:not(:disabled), select:not(:disabled), textarea:not(:disabled), summary, [tabindex="0"]';

/**
 * A dialog over a phone. Only that phone waits for it: the keyboard stays in the dialog, and the
 * other phone goes on. Esc and a click beside it close it.
 */
export function Sheet({ title, onClose, children, class: kind = '' }: { title: string; onClose: () => void; children: ComponentChildren; class?: string }) {
  const cover = useRef<HTMLDivElement>(null), dialog = useRef<HTMLDivElement>(null);
  const pressed = useRef(false); // the pointer went down on the cover
  useLayoutEffect(() => {
    const opener = document.activeElement;
    const phone = cover.current!.parentElement!;
    const behind = [...phone.children].filter((one): one is HTMLElement => one instanceof HTMLElement && one.matches('header, .screens'));
    for (const one of behind) one.inert = true;
    (dialog.current!.querySelector<HTMLElement>('[data-first]') ?? dialog.current!).focus({ preventScroll: true });
    return () => {
      for (const one of behind) one.inert = false;
      if (opener instanceof HTMLElement) opener.focus({ preventScroll: true });
      // What opened it may be gone: the message was taken back, say.
      if (document.activeElement !== opener) phone.querySelector<HTMLElement>('.log')?.focus({ preventScroll: true });
    };
  }, []);
  // What had the focus may be gone, and the keyboard with it.
  useEffect(() => { if (document.activeElement === document.body) dialog.current!.focus({ preventScroll: true }); });
  const keys = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.isComposing || event.defaultPrevented) return;
    if (event.key === 'Escape') { event.preventDefault(); onClose(); }
    if (event.key !== 'Tab') return;
    const all = [...dialog.current!.querySelectorAll<HTMLElement>(focusable)].filter(one => one.tabIndex >= 0 && one.getClientRects().length > 0);
    const [from, to] = event.shiftKey ? [all[0], all.at(-1)] : [all.at(-1), all[0]];
    if (document.activeElement !== from && document.activeElement !== dialog.current) return;
    event.preventDefault();
    to?.focus();
  };
  return <div ref={cover} class={`cover-all ${kind}`} onKeyDown={keys}
    onPointerDown={event => { pressed.current = event.target === cover.current; }} onClick={event => { if (pressed.current && event.target === cover.current) onClose(); }}>
    <div ref={dialog} class={`sheet ${kind}`} role="dialog" aria-modal="true" aria-label={title} tabIndex={-1}>
      <header><h2 dir="auto">{title}</h2><IconButton icon="close" label={words.close} onClick={onClose} /></header>
      {children}
    </div>
  </div>;
}

export interface Work {
  busy: boolean;
  /** Why the last attempt failed. */
  fault: string;
  /** Does something, unless something is under way, and reports whether it was done. */
  run(work: () => Promise<unknown>): Promise<boolean>;
  /** Does something once what is under way is done, so that several changes follow one another. */
  next(work: () => Promise<unknown>): Promise<boolean>;
}

/** What a dialog does: one thing at a time. If it fails, the dialog says why, or the phone if the dialog is closed. */
export function useWork(phone: Phone): Work {
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState('');
  const now = useRef({ under: undefined as Promise<boolean> | undefined, closed: false });
  useEffect(() => () => { now.current.closed = true; }, []);
  const begin = async (work: () => Promise<unknown>): Promise<boolean> => {
    setBusy(true);
    setFault('');
    try {
      await Promise.resolve().then(work); // not before `under` is set
      return true;
    } catch (error) {
      if (error instanceof TransportError) phone.askAgain();
      if (now.current.closed) phone.say(explained(error));
      else setFault(explained(error));
      return false;
    } finally {
      now.current.under = undefined;
      setBusy(false);
    }
  };
  const run = async (work: () => Promise<unknown>) => now.current.under ? false : now.current.under = begin(work);
  return {
    busy, fault, run,
    async next(work) {
      while (now.current.under) await now.current.under;
      return run(work);
    },
  };
}

/** Why something failed. */
export function Fault({ work }: { work: Work }) { return work.fault ? <p class="fault" role="alert">{work.fault}</p> : null; }

/** The button that sends a form. It keeps the focus while that is under way. */
export function Submit({ work, disabled, children, class: kind = '' }: { work: Work; disabled?: boolean; children: ComponentChildren; class?: string }) {
  return <button type="submit" class={`${kind} ${work.busy ? 'busy' : ''}`} disabled={disabled} aria-disabled={work.busy}>{children}</button>;
}

/** A button for what cannot be undone: it asks once more. */
export function Confirm({ label, sure, onConfirm }: { label: string; sure: string; onConfirm: () => void }) {
  const [asked, setAsked] = useState(false);
  const cancel = useRef<HTMLButtonElement>(null);
  useEffect(() => { if (asked) cancel.current?.focus(); }, [asked]);
  if (!asked) return <button type="button" class="danger quiet" onClick={() => setAsked(true)}>{label}</button>;
  return <div class="confirm" role="group" aria-label={label}>
    <p>{sure}</p>
    <button type="button" class="quiet" ref={cancel} onClick={() => setAsked(false)}>{words.cancel}</button>
    {/* The second click of a double click is not an answer. */}
    <button type="button" class="danger" onClick={event => { if (event.detail < 2) onConfirm(); }}>{label}</button>
  </div>;
}

/** Tabs, between which arrow keys move. */
export function Tabs<T extends string>({ label, tabs, chosen, onChoose }: { label: string; tabs: [T, string][]; chosen: T; onChoose: (tab: T) => void }) {
  const keys = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (!step) return;
    const all = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('button')];
    const at = (tabs.findIndex(([tab]) => tab === chosen) + step + tabs.length) % tabs.length;
    onChoose(tabs[at]![0]);
    all[at]?.focus();
    event.preventDefault();
  };
  return <div class="switch tabs" role="tablist" aria-label={label} onKeyDown={keys}>{tabs.map(([tab, text]) =>
    <button type="button" role="tab" key={tab} aria-selected={tab === chosen} tabIndex={tab === chosen ? 0 : -1} onClick={() => onChoose(tab)}>{text}</button>)}</div>;
}

/** A field of text with its label. */
export function Field({ label, value, onInput, most = 128, first, required }: { label: string; value: string; onInput: (value: string) => void; most?: number; first?: boolean; required?: boolean }) {
  return <label class="field">{label}<input value={value} maxLength={most} dir="auto" required={required} autocomplete="off" data-first={first ? '' : undefined} onInput={event => onInput(event.currentTarget.value)} /></label>;
}

/**
 * What a person chose, while that is being done. Before and afterwards it is the value that is
 * given: what the server has.
 */
function useChosen<T>(value: T, onChange: (value: T) => unknown): [T, (value: T) => void] {
  const [chosen, setChosen] = useState<{ value: T }>();
  return [chosen ? chosen.value : value, next => {
    setChosen({ value: next });
    void Promise.resolve(onChange(next)).finally(() => setChosen(undefined));
  }];
}

/** A choice among a few. */
export function Select<T extends string>({ value, choices, onChange, disabled, label, class: kind }: { value: T; choices: [T, string][]; onChange: (value: T) => unknown; disabled?: boolean; label?: string; class?: string }) {
  const [chosen, choose] = useChosen(value, onChange);
  return <select class={kind} value={chosen} disabled={disabled} aria-label={label} onChange={event => choose(event.currentTarget.value as T)}>
    {choices.map(([one, text]) => <option key={one} value={one}>{text}</option>)}</select>;
}

/** A choice among a few, with its label. */
export function Choice<T extends string>({ label, ...rest }: { label: string; value: T; choices: [T, string][]; onChange: (value: T) => unknown }) {
  return <label class="field">{label}<Select {...rest} /></label>;
}

/** Checkboxes for a few items, each given by its id and its name. */
export function Ticks({ all, chosen, onTick }: { all: [string, string][]; chosen: string[]; onTick: (id: string, on: boolean) => unknown }) {
  return <div class="ticked">{all.map(([id, name]) => <Tick key={id} name={name} on={chosen.includes(id)} onTick={on => onTick(id, on)} />)}</div>;
}

function Tick({ name, on, onTick }: { name: string; on: boolean; onTick: (on: boolean) => unknown }) {
  const [ticked, tick] = useChosen(on, onTick);
  return <label><input type="checkbox" checked={ticked} onChange={event => tick(event.currentTarget.checked)} /><bdi>{name}</bdi></label>;
}

/** A list with an item, or without it. */
export function having(list: string[], item: string, has: boolean): string[] { return has ? [...list.filter(one => one !== item), item] : list.filter(one => one !== item); }

/** People to choose from, and a field for others. */
export function People({ legend, known, chosen, onChange }: { legend: string; known: string[]; chosen: string[]; onChange: (chosen: string[]) => void }) {
  const [other, setOther] = useState('');
  const add = () => {
    const name = other.trim().normalize('NFC'); // as the ids of users are
    if (name && !chosen.includes(name)) onChange([...chosen, name]);
    setOther('');
  };
  return <fieldset class="picker"><legend>{legend}</legend>
    <Ticks all={[...new Set([...known, ...chosen])].map(one => [one, one])} chosen={chosen} onTick={(one, on) => onChange(having(chosen, one, on))} />
    <div class="inline"><input value={other} aria-label={words.somebodyElse} placeholder={words.somebodyElse} dir="auto" maxLength={128} autocomplete="off"
      onInput={event => setOther(event.currentTarget.value)} onBlur={add}
      onKeyDown={event => { if (event.key === 'Enter' && !event.isComposing && other.trim()) { event.preventDefault(); add(); } }} />
      <IconButton icon="plus" label={words.addName} onClick={add} /></div>
  </fieldset>;
}

import { Seen } from './seen.js';
import type { Block } from './sse.js';
import type { Taken } from './stream.js';
import type { Event, EventOf, EventType } from './types.js';

/**
 * Handlers by the type of the event, and `'*'` for all. A handler that returns a promise is
 * awaited before the next event is handled.
 */
export type EventHandlers =
  & { [T in EventType]?: (event: EventOf<T>) => void | Promise<void> }
  & { '*'?: (event: Event) => void | Promise<void> };

/** Calls the handlers of an event. */
export async function dispatch(event: Event, handlers: EventHandlers): Promise<void> {
  if (Object.hasOwn(handlers, event.type)) await (handlers[event.type] as ((event: Event) => unknown) | undefined)?.(event);
  await handlers['*']?.(event);
}

/** Returns a function that reads the events of a stream, each once. */
export function takeEvents(cursor: string | undefined): (block: Block) => Taken<Event> {
  const seen = new Seen();
  if (cursor) seen.add(cursor);
  // Events of the stream itself, ready and reset, have the id of the event before them. Events that
  // are not in the log, such as commands, have no id and are never replayed; their block has one
  // if a heartbeat came before them: a cursor that may have been seen.
  const fresh = (event: Event, id: string | undefined) => {
    if (event.type === 'reset') seen.clear();
    if (event.type === 'reset' || event.type === 'ready' || !('id' in event)) return true;
    return seen.add(id ?? event.id);
  };
  return block => {
    if (block.data === undefined) return {};
    const event = JSON.parse(block.data) as Event;
    return { item: fresh(event, block.id) ? event : undefined };
  };
}

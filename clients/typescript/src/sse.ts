import { TransportError } from './errors.js';

/** The maximum length of a block, in UTF-16 code units. Messages have a few KiB. */
const maxBlock = 4 << 20;
/** The maximum reconnection time that a server can set, in milliseconds. */
const maxRetry = 3_600_000;

/** A block of an event stream, up to an empty line. */
export interface Block {
  /** The value of the last `id` field. */
  id?: string;
  event: string;
  /** The values of all `data` fields, joined by line feeds. */
  data?: string;
}

/**
 * Reads an event stream (HTML standard, §9.2.6), in parts of any length. Lines end with CR, LF
 * or CRLF. Comments and unknown fields are skipped, and so is a last block without an empty line
 * after it. Unlike the standard it returns blocks with an id and no data, for the cursor.
 */
export class Parser {
  /** The last reconnection time that the server set, in milliseconds. It applies even if its block never ends. */
  retry: number | undefined;
  #decoder = new TextDecoder(); // invalid bytes become U+FFFD, and a byte order mark is dropped
  #rest = '';
  #size = 0;
  #afterCR = false;
  #block: Block = { event: '' };

  /** Returns the blocks that a part completes. */
  *parse(part: Uint8Array): Generator<Block, void, undefined> {
    let text = this.#decoder.decode(part, { stream: true });
    if (text === '') return;
    if (this.#afterCR && text.startsWith('\n')) text = text.slice(1);
    this.#afterCR = text.endsWith('\r');
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0]!;
    this.#rest = lines.pop()!;
    for (const line of lines) {
      this.#size += line.length;
      if (this.#size > maxBlock) throw tooLarge();
      if (line !== '') {
        this.#field(line);
        continue;
      }
      const block = this.#block;
      this.#block = { event: '' };
      this.#size = 0;
      if (block.id !== undefined || block.data !== undefined) yield block;
    }
    if (this.#size + this.#rest.length > maxBlock) throw tooLarge();
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    const block = this.#block;
    switch (name) {
      case 'event':
        block.event = value;
        break;
      case 'data':
        block.data = block.data === undefined ? value : `${block.data}\n${value}`;
        break;
      case 'id':
        if (!value.includes('\0')) block.id = value;
        break;
      case 'retry':
        if (/^\d+$/.test(value)) this.retry = Math.min(Number(value), maxRetry);
    }
  }
}

/** Ends the stream: after a reconnection the server would send the same block again. */
function tooLarge(): TransportError {
  return new TransportError('unexpected_answer', 'the stream has a block that is too large');
}

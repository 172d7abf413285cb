// A scanner on a cable or a belt types what it read and ends it with Enter. What comes that fast is a scan; what comes slower is a person
// and is left alone, and nothing that is typed into a field is ever looked at.
//
// It must send real keys (USB or Bluetooth HID). A scanner that writes through a phone's input method names no keys and is heard only by
// a text field: there the typed-code field takes it.

/** Between two keys of a scan. Scanners send 1–30 ms apart; nobody types eight keys in a row this fast. */
export const GAP_MS_MAX = 50;
/** A code is eight characters. Less is a burst of fingers. */
export const CHARS_MIN = 8;
/** Longer than any tag's address. */
export const CHARS_MAX = 256;

export interface Keystroke {
  key: string;
  /** ms, any origin */
  at: number;
  /** with Ctrl, Alt or Meta, held down, or part of a composed character */
  other: boolean;
}

/** Gathers one scan at a time. */
export class Strokes {
  private text = "";
  private last = Number.NEGATIVE_INFINITY;

  /** Takes a key; gives what was scanned when the Enter that ends it comes, else null. */
  take(stroke: Keystroke): string | null {
    // Scanners press Shift for capitals: it is no key of the text and no pause.
    if (stroke.key === "Shift" || stroke.key === "CapsLock") return null;
    const prompt = stroke.at - this.last <= GAP_MS_MAX;
    const before = prompt ? this.text : "";
    this.text = "";
    this.last = stroke.at;
    if (stroke.other) return null;
    if (stroke.key === "Enter") return before.length >= CHARS_MIN && before.length <= CHARS_MAX ? before : null;
    // A text that grew too long is given up whole: what is left of it must not pass for a scan.
    if ([...stroke.key].length === 1) this.text = before.length > CHARS_MAX ? before : before + stroke.key;
    return null;
  }

  forget(): void {
    this.text = "";
    this.last = Number.NEGATIVE_INFINITY;
  }
}

const NO_TEXT = new Set(["button", "checkbox", "color", "file", "image", "radio", "range", "reset", "submit"]);

/** Whether what is typed there is somebody's text. */
export function isTextField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !NO_TEXT.has(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

/** Listens on the whole window; gives back how to stop. */
export function listen(scanned: (text: string) => void): () => void {
  const strokes = new Strokes();
  const heard = (event: KeyboardEvent): void => {
    if (isTextField(event.target)) {
      strokes.forget();
      return;
    }
    const other = event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing;
    const text = strokes.take({ key: event.key, at: event.timeStamp, other });
    if (text === null) return;
    // The Enter belongs to the scan: it must not press whatever key of the screen has the focus.
    event.preventDefault();
    event.stopImmediatePropagation();
    scanned(text);
  };
  window.addEventListener("keydown", heard, { capture: true });
  return () => window.removeEventListener("keydown", heard, { capture: true });
}

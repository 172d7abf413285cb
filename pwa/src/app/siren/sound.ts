// The siren, made by code: no file to fetch, so it sounds without a network. Browsers let a page sound only after a touch: the press at
// the start of a shift is that touch, and it holds until the page is loaded anew.

const LOW_HZ = 650;
const HIGH_HZ = 1_300;
const SWEEP_S = 0.6;
const LOUDNESS = 0.9;
/** Browsers that will not sound leave `resume` unanswered. */
const UNLOCK_MS_MAX = 1_000;
/** A test is heard across a bay and over before it annoys. */
export const TEST_S = 1.8;

let context: AudioContext | undefined;
let running: OscillatorNode | undefined;

/** Whether this page may sound now. */
export const audible = (): boolean => context?.state === "running";

/** Opens the sound; call it inside a press. Resolves to whether it is open. */
export async function unlock(): Promise<boolean> {
  const Context = globalThis.AudioContext ?? (globalThis as { webkitAudioContext?: typeof AudioContext }).webkitAudioContext;
  if (!Context) return false;
  try {
    context ??= new Context();
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, UNLOCK_MS_MAX))]);
  } catch {
    return false;
  }
  return audible();
}

/** Up and down for so many seconds. Does nothing where the sound is not open. */
export function sound(seconds: number): void {
  if (!context || !audible()) return;
  silence();
  const begins = context.currentTime;
  const tone = context.createOscillator();
  const volume = context.createGain();
  // A square wave carries best over machines: its overtones reach past what they drown.
  tone.type = "square";
  tone.frequency.setValueAtTime(LOW_HZ, begins);
  for (let at = 0; at < seconds; at += 2 * SWEEP_S) {
    tone.frequency.linearRampToValueAtTime(HIGH_HZ, begins + at + SWEEP_S);
    tone.frequency.linearRampToValueAtTime(LOW_HZ, begins + at + 2 * SWEEP_S);
  }
  volume.gain.setValueAtTime(LOUDNESS, begins);
  volume.gain.setValueAtTime(LOUDNESS, begins + seconds - 0.05);
  volume.gain.linearRampToValueAtTime(0, begins + seconds);
  tone.connect(volume).connect(context.destination);
  tone.start(begins);
  tone.stop(begins + seconds);
  tone.onended = () => {
    if (running === tone) running = undefined;
    volume.disconnect();
  };
  running = tone;
}

export function silence(): void {
  running?.stop();
  running = undefined;
}

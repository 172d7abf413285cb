// Which photos an op names.

/** The sha256 of every media value anywhere in what an op says. */
export function mediaIn(value: unknown, found: string[] = []): string[] {
  if (Array.isArray(value)) for (const each of value) mediaIn(each, found);
  else if (value && typeof value === "object") {
    const { sha256: sha } = value as { sha256?: unknown };
    if (typeof sha === "string" && /^[0-9a-f]{64}$/.test(sha)) found.push(sha);
    else for (const each of Object.values(value)) mediaIn(each, found);
  }
  return found;
}

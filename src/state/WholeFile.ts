/**
 * A file that is replaced as a whole or not at all: whoever reads it, also after a crash of the program or of the host,
 * finds all of one version. Node's thread pool does the work, so that a disk that is slow stops nothing.
 */
import { constants, type FileHandle, open, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Data, Effect } from "effect";
import { printable } from "../log/ForeignText.js";

/**
 * The system does not let a file be read or written.
 *
 * @since 0.2.0
 * @category errors
 */
export class FileError extends Data.TaggedError("FileError")<{
  /** As the system names it, such as `ENOSPC`; what stands for it where it has no name. */
  readonly code: string;
  readonly message: string;
}> {}

const fileError = (cause: unknown): FileError => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
  return new FileError({
    code,
    message: printable(cause instanceof Error ? cause.message : String(cause), 500),
  });
};

const pieceBytes = 64 * 1024;

/** The pieces of a file. One that is no regular file is not read: a pipe could be waited on for ever. */
async function* piecesOf(path: string): AsyncGenerator<Uint8Array, void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error("it is not a regular file");
    for (;;) {
      const { buffer, bytesRead } = await file.read(new Uint8Array(pieceBytes));
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/**
 * Reads a file piece by piece, for as long as `take` answers true.
 */
export const read = <E, R>(
  path: string,
  take: (piece: Uint8Array) => Effect.Effect<boolean, E, R>,
): Effect.Effect<void, FileError | E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => piecesOf(path)),
    (pieces) => {
      const next: Effect.Effect<void, FileError | E, R> = Effect.flatMap(
        Effect.tryPromise({ try: () => pieces.next(), catch: fileError }),
        ({ done, value }) =>
          done === true || value === undefined
            ? Effect.void
            : Effect.flatMap(take(value), (more) => (more ? next : Effect.void)),
      );
      return next;
    },
    (pieces) => Effect.promise(() => pieces.return()),
  );

/** Another name for a file. What has that name is replaced. */
export const moved = (path: string, to: string): Effect.Effect<void, FileError> =>
  Effect.tryPromise({ try: () => rename(path, to), catch: fileError });

/** For the user that runs this program alone. */
const mode = 0o600;

/** Each process has its own, so that no two write to the same. */
const temporaryOf = (path: string): string => `${path}.${process.pid}.tmp`;

const withFile = async (file: FileHandle, use: (file: FileHandle) => Promise<unknown>): Promise<void> => {
  try {
    await use(file);
  } finally {
    await file.close();
  }
};

const written = async (path: string, pieces: ReadonlyArray<Uint8Array>): Promise<void> => {
  const file = await open(
    path,
    constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW,
    mode,
  );
  await withFile(file, async () => {
    for (const piece of pieces) await file.writeFile(piece);
    await file.sync();
  });
};

const replaced = async (path: string, pieces: ReadonlyArray<Uint8Array>): Promise<void> => {
  const temporary = temporaryOf(path);
  try {
    await written(temporary, pieces);
    await rename(temporary, path);
  } catch (cause) {
    // What was written of it takes room on a disk that may be full.
    await unlink(temporary).catch(() => {});
    throw cause;
  }
  // The new name is on the disk only when its folder is.
  await withFile(await open(dirname(path), constants.O_RDONLY), (folder) => folder.sync());
};

const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code !== "ESRCH";
  }
};

/** Removes what processes left that were killed while they wrote. */
const tidied = async (path: string): Promise<void> => {
  const folder = dirname(path);
  const before = `${basename(path)}.`;
  for (const name of await readdir(folder)) {
    const [, pid] = name.startsWith(before)
      ? (/^(\d{1,10})\.tmp$/.exec(name.slice(before.length)) ?? [])
      : [];
    if (pid !== undefined && !isRunning(Number(pid))) await unlink(join(folder, name));
  }
};

/** Removes the temporary files of processes that are no more. Where that cannot be done they stay. */
export const tidy = (path: string): Effect.Effect<void> =>
  Effect.ignore(Effect.tryPromise({ try: () => tidied(path), catch: fileError }));

/**
 * Replaces a file. Replacements wait for each other: an interrupted effect leaves the thread pool at work.
 */
export const replacer = (
  path: string,
): ((pieces: ReadonlyArray<Uint8Array>) => Effect.Effect<void, FileError>) => {
  let before: Promise<unknown> = Promise.resolve();
  return (pieces) =>
    Effect.tryPromise({
      try: () => {
        const now = before.then(() => replaced(path, pieces));
        before = now.catch(() => {});
        return now;
      },
      catch: fileError,
    });
};

// Java programs of the tests: which Java there is, and small sources compiled against jars that Maven fetched. What
// was compiled is kept in the cache folder, once per version of source and jars.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";

/** `java` or `javac`, as the broker's launcher finds it. */
export function javaCommand(name: "java" | "javac"): string {
  return process.env.JAVA_HOME ? join(process.env.JAVA_HOME, "bin", name) : name;
}

/** The folder for what tests make once: the broker launcher's (PULSAR_STANDALONE_CACHE). */
export function cacheFolder(): string {
  return process.env.PULSAR_STANDALONE_CACHE ??
    join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "pulsar-standalone");
}

/** What a program that answers and ends well printed; undefined when there is none. */
export function answerOf(command: string, ...args: string[]): string | undefined {
  const run = spawnSync(command, args, { encoding: "utf8" });
  return run.error || run.status !== 0 ? undefined : run.stdout + run.stderr;
}

/** Why Java sources cannot be compiled and run here, or undefined. */
export function javaMissing(): string | undefined {
  const java = answerOf(javaCommand("java"), "-version");
  if (java === undefined) return "no Java (17 or newer)";
  const major = Number(/ version "(\d+)/.exec(java)?.[1] ?? 0);
  if (major < 17) return `Java is version ${major}, 17 or newer is needed`;
  if (answerOf(javaCommand("javac"), "-version") === undefined) {
    return "no javac: a JDK is needed, not only a JRE";
  }
  return undefined;
}

/** Why Maven cannot be asked, or undefined. */
export function mavenMissing(): string | undefined {
  return answerOf(mavenCommand(), "-v") === undefined ? "no Maven" : undefined;
}

/** Maven, as the broker's launcher finds it. */
export function mavenCommand(): string {
  return process.env.MVN ?? "mvn";
}

/**
 * The class path that Maven makes of a pom's dependencies, fetched at first use.
 * @returns jars, separated by ":"
 * @throws Error with Maven's words
 */
export function resolveJars(name: string, pomFile: string): string {
  const file = classPathFile(name, pomFile);
  if (!jarsResolved(name, pomFile)) {
    mkdirSync(cacheFolder(), { recursive: true });
    const made = `${file}.${process.pid}`;
    const run = spawnSync(
      "flock", // two Mavens at once may spoil each other's downloads
      [join(cacheFolder(), "lock"), mavenCommand(), "-B", "-q", "-ntp", "-f", pomFile]
        .concat("dependency:build-classpath", `-Dmdep.outputFile=${made}`),
      { encoding: "utf8" },
    );
    if (run.status !== 0) {
      throw new Error(`${name}: Maven: ${(run.stdout + run.stderr).slice(-4000) || run.error}`);
    }
    renameSync(made, file);
  }
  return readFileSync(file, "utf8").trim();
}

/** Whether {@link resolveJars} needs no Maven. */
export function jarsResolved(name: string, pomFile: string): boolean {
  const file = classPathFile(name, pomFile);
  return existsSync(file) && readFileSync(file, "utf8").trim().split(":").every((jar) => existsSync(jar));
}

function classPathFile(name: string, pomFile: string): string {
  return join(cacheFolder(), `${name}-${versionOf(readFileSync(pomFile))}.txt`);
}

/**
 * Compiles one source; javac costs two seconds, so once per version.
 * @param version of what else decides about the classes, such as the jars
 * @returns the folder with the classes
 * @throws Error with javac's words
 */
export function compileJava(sourceFile: string, jars: string, version: string = jars): string {
  const name = basename(sourceFile, ".java").replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();
  const classes = join(cacheFolder(), `${name}-${versionOf(version, readFileSync(sourceFile))}`);
  if (existsSync(classes)) return classes;
  mkdirSync(cacheFolder(), { recursive: true });
  const made = mkdtempSync(join(cacheFolder(), `${name}-`));
  const run = spawnSync(javaCommand("javac"), ["-d", made, sourceFile], {
    encoding: "utf8",
    env: { ...process.env, CLASSPATH: jars },
  });
  if (run.status !== 0) throw new Error(`${name}: javac: ${run.stderr || run.error}`);
  try {
    renameSync(made, classes);
  } catch (error) {
    if (!existsSync(classes)) throw error;
    rmSync(made, { recursive: true }); // another process was first
  }
  return classes;
}

function versionOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 16);
}

import { createCore } from "./app/core";
import { start } from "./app/start";
import { registerWorker, watchInstall } from "./app/worker";

watchInstall();
void start(createCore()).then(registerWorker);

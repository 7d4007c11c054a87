// Loaded into the platform that the demo starts (`node --import`): should the demo die without a word, the channel to it
// closes, and the platform stops as if it had been asked to.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
process.channel?.unref();

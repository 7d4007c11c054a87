process.stderr.write('the mill has no wheel\n');
process.exit(3);

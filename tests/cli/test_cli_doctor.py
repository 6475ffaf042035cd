"""icd doctor as a user would read it: every meter, why not, the command that helps, the fingerprint."""
import json
import socket
import unittest

from icd_cli import CliTest


class Doctor(CliTest):
    def test_every_meter_and_what_observing_costs(self):
        report = self.json("doctor")
        row = {r["name"]: r for r in report["capabilities"]}
        for meter in ("ncu", "nvml", "rapl", "perf", "cachegrind", "cachesim"):
            self.assertIn(row[meter]["area"], ("counters", "energy"))
        self.assertTrue(row["cachesim"]["available"])
        for name in ("event log", "clock readings"):
            self.assertEqual(row[name]["area"], "overhead")
            self.assertRegex(row[name]["found"], r"\d.*%")
        for r in report["capabilities"]:
            self.assertEqual(r["available"], r["enable"] is None, r)

    def test_settings_reach_the_meters(self):
        report = self.json("doctor", "--override", "meter.ncu=/nowhere/ncu", "--override",
                           "meter.valgrind=/nowhere/valgrind")
        row = {r["name"]: r for r in report["capabilities"]}
        self.assertIn("/nowhere/ncu", row["ncu"]["found"])
        self.assertIn("/nowhere/valgrind", row["cachegrind"]["found"])

    def test_fingerprint(self):
        first, second = (self.json("doctor")["fingerprint"] for _ in range(2))
        for key in ("cpu", "kernel", "governor", "boost", "container", "gpu", "version", "git", "config_hash"):
            self.assertIn(key, first)
        self.assertEqual(first["machine"], second["machine"])
        self.assertFalse([v for v in first.values() if isinstance(v, (dict, list))])
        host = socket.gethostname()
        if len(host) > 5:
            self.assertNotIn(host, json.dumps(first))
        self.assertIn(first["machine"], self.icd("doctor").stdout)


if __name__ == "__main__":
    unittest.main()

# Everything a developer or a CI runs. `make` alone prints the list.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo demo-front test lint fmt crd bench dashboards images push chart-test cluster cluster-down clean compiler tools k8s-test compose-test fuzz

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: compiler ## build `redial` and play the whole story with two phones over real UDP (installs nothing but a C compiler when there is none)
	cargo build --release --package redial --bin redial
	$(TARGET)/release/redial demo

demo-front: compiler ## the same story in front of a Kamailio that stays registrar and proxy (installs kamailio by apt when missing)
	@tests/install /usr/sbin/kamailio:kamailio
	cargo build --release --package redial --bin redial
	$(TARGET)/release/redial demo --front

test: compiler tools ## build everything and run every test (installs redis-server, openssl, sip-tester, kamailio, prometheus, dnsmasq and two soft phones by apt when missing)
	tests/run-tests

lint: compiler ## formatting, clippy, who may import whom, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --quiet --package redial-tests --test workspace

fmt: ## format the code
	cargo fmt --all

crd: compiler ## write the RedialPolicy definition of the chart from its Rust types
	mkdir -p charts/redial/crds
	cargo run --quiet --package redial-crd --bin crd > $(TARGET)/redialpolicies.yaml
	mv $(TARGET)/redialpolicies.yaml charts/redial/crds/redialpolicies.yaml

bench: compiler tools ## load edge, coordinator and Redis with sipp; CPU per message next to a raw UDP echo (installs like test)
	cargo build --release --workspace --bins
	$(TARGET)/release/load

images: compiler ## pack static binaries into images without a base, target/images/*.tar (docker, podman or buildah; installs buildah by apt when there is none)
	docker/build

push: ## push these images to REGISTRY=HOST[:PORT][/PATH], where a cluster pulls from (after `docker login` or the like; docker/push says the rest)
	docker/push

chart-test: compiler ## lint the Helm chart, check what it must refuse, and have a real API server admit what it renders (as root; needs Go, like cluster)
	cargo build --workspace --bins
	tests/chart/run

cluster: compiler ## build and start a Kubernetes of our own, in a network namespace (as root; needs Go; installs etcd-server, runc and the like by apt)
	tests/cluster/build
	tests/cluster/up

k8s-test: compiler tools $(if $(KUBECONFIG),,images cluster) ## install the chart in that cluster, or in the one of KUBECONFIG, and play stories while pods come and go (installs like test, and docker-registry and apache2-utils)
	tests/k8s-test

compose-test: images ## start docker/compose.yaml with its collector, play the story through either edge, take it down (as root; needs Go; installs podman by apt)
	tests/compose

fuzz: compiler ## fuzz what reads messages, FUZZ_SECONDS (60) for each target (installs g++ by apt and cargo-fuzz by cargo when missing)
	@tests/install g++
	tests/fuzz $(FUZZ_SECONDS)

cluster-down: ## end the cluster, and leave nothing but its binaries
	tests/cluster/down

dashboards: compiler tools ## draw the Grafana dashboards from a set that runs; fails when a panel has no data (installs Go and Prometheus when missing)
	@tests/install go:golang-go
	cd tests/grafana && go run . ../../charts/redial/dashboards/*.json
	cargo build --workspace --bins
	$(TARGET)/debug/dashboards $(TARGET)/dashboards.html

clean: ## remove what was built
	cargo clean

compiler:
	@tests/install cc:gcc ld:binutils /usr/include/stdlib.h:libc6-dev

tools:
	@tests/install redis-server openssl sipp:sip-tester promtool:prometheus baresip:baresip-core dnsmasq:dnsmasq-base linphonec:linphone-cli /usr/sbin/kamailio:kamailio
